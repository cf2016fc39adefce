package cli

import (
	"encoding/json"
	"strings"

	"signkit/internal/mockapi"
)

// setFaults reads one fault, or a list of them.
func setFaults(s *mockapi.Server, text string) error {
	if strings.TrimSpace(text) == "" {
		s.ClearFaults()
		return nil
	}
	if !strings.HasPrefix(text, "[") {
		text = "[" + text + "]"
	}
	var faults []mockapi.Fault
	if err := json.Unmarshal([]byte(text), &faults); err != nil {
		return err
	}
	return s.SetFaults(faults)
}
