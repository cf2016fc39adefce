package moduletest

import (
	"strings"
	"testing"
)

// TestLossOfTheTokenProcessIsExplained: whoever writes all other lines is gone, so the module writes this one itself, once. It does
// not where the program has closed the sockets.
func TestLossOfTheTokenProcessIsExplained(t *testing.T) {
	v := shared.variant[0]
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"killed":   {[]string{"lost", "kill"}, "has ended during a call"},
		"between":  {[]string{"lost", "between"}, "has ended during a call"},
		"stopped":  {[]string{"lost", "stop"}, "has been silent for 20 s"},
		"replaced": {[]string{"replaced"}, ""},
		"closed":   {[]string{"descriptors"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "stopped" && testing.Short() {
				t.Skip("waits 20 s for a stopped process; not with -short")
			}
			t.Parallel()
			got := shared.run(t, host{args: append([]string{v.program(t, test.args[0]), v.module, "demo/p-256"}, test.args[1:]...)})
			if got.code != 0 {
				t.Fatalf("ended with %d: %s", got.code, got.stderr)
			}
			lines := strings.Count(got.stderr, "signkit: the token process")
			if want := min(1, len(test.want)); lines != want || !strings.Contains(got.stderr, test.want) {
				t.Errorf("%d lines, want %d with %q:\n%s", lines, want, test.want, got.stderr)
			}
		})
	}
}
