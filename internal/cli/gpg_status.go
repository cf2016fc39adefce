package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	gnupghome "signkit/gpgagent/home"
	"signkit/internal/event"
)

// errorsShown is how many of the bridge's failures gpg status shows.
const errorsShown = 5

// gpgStatus is what gpg status finds.
type gpgStatus struct {
	Home     string        `json:"homedir"`
	AgentPID string        `json:"agentPid"` // "" when none runs
	BridgeOK bool          `json:"bridgeAnswers"`
	Bridge   string        `json:"bridgeError,omitempty"`
	Keys     []gpgRow      `json:"keys"`
	Errors   []event.Event `json:"lastErrors"`
}

func newGPGStatusCommand(a *app) *cobra.Command {
	var homedir string
	var onlyErrors bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the keys, the agent, the bridge and its last errors",
		Long: `Show the keys, the agent, the bridge and its last errors. gpg itself says little more
than "signing failed"; the bridge has recorded the cause. This starts no agent.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			home, err := a.home(homedir)
			if err != nil {
				return err
			}
			if onlyErrors && !a.ui.json {
				return a.showErrors(home)
			}
			status, err := a.statusOf(cmd.Context(), home)
			if err != nil {
				return err
			}
			return a.showStatus(status)
		},
	}
	homedirFlag(cmd, &homedir, "`DIR`: the GNUPGHOME (default: $GNUPGHOME)")
	cmd.Flags().BoolVar(&onlyErrors, "errors", false, "print only the bridge's last errors")
	a.jsonFlag(cmd)
	return cmd
}

// failureLine is a failure for a person.
func failureLine(e event.Event) string {
	return fmt.Sprintf("%s %s: %s", e.Time.Format(time.RFC3339), e.Key, e.Error)
}

func (a *app) showErrors(home *gnupghome.Home) error {
	records, err := home.LastErrors(errorsShown)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		a.ui.note("the bridge has recorded no error in %s", home.Dir)
	}
	for _, record := range records {
		a.ui.line("%s", a.ui.redactor.Redact(failureLine(record)))
	}
	return nil
}

func (a *app) statusOf(ctx context.Context, home *gnupghome.Home) (*gpgStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	s := &gpgStatus{Home: home.Dir, Keys: []gpgRow{}}
	keys, err := home.Keys()
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		s.Keys = append(s.Keys, rowOfEntry(key))
	}
	records, err := home.LastErrors(errorsShown)
	if err != nil {
		return nil, err
	}
	s.Errors = append([]event.Event{}, records...)
	s.AgentPID, err = home.AgentPID(ctx)
	if errors.Is(err, gnupghome.ErrNotRunning) {
		return s, nil
	}
	if err != nil {
		return nil, gpgHints(err)
	}
	if _, err := home.BridgeVersion(ctx); err != nil {
		s.Bridge = err.Error()
		return s, nil
	}
	s.BridgeOK = true
	return s, nil
}

func (a *app) showStatus(s *gpgStatus) error {
	var failed error
	if s.AgentPID != "" && !s.BridgeOK {
		failed = withHint(errors.New("the bridge does not answer: "+s.Bridge),
			`eval "$(signkit gpg init)" starts agent and bridge anew`)
	}
	if a.ui.json {
		return errors.Join(a.ui.document(s), failed)
	}
	agent, bridge := "running (process "+s.AgentPID+")", "answers"
	switch {
	case s.AgentPID == "":
		agent, bridge = "not running; gpg starts it in the environment of that moment", "not running"
	case !s.BridgeOK:
		bridge = "does not answer"
	}
	a.ui.table(nil, [][]string{{"GNUPGHOME", s.Home}, {"agent", agent}, {"bridge", bridge}, {"keys", fmt.Sprint(len(s.Keys))}})
	var rows [][]string
	for _, key := range s.Keys {
		rows = append(rows, []string{"  " + key.ID, key.Fingerprint, key.expiry(time.Now()), key.UserID, a.stubState(s.Home, key)})
	}
	a.ui.table(nil, rows)
	if len(s.Errors) > 0 {
		a.ui.line("last errors of the bridge")
	}
	for _, record := range s.Errors {
		a.ui.line("  %s", a.ui.redactor.Redact(failureLine(record)))
	}
	return failed
}

// stubState says what keeps gpg from using a key; "" when nothing does.
func (a *app) stubState(dir string, key gpgRow) string {
	home := &gnupghome.Home{Dir: dir}
	if _, err := os.Stat(home.StubFile(key.Keygrip)); err != nil {
		return "no reference in private-keys-v1.d: run signkit gpg init again"
	}
	return ""
}

// expiry is the end of the key, with a word where it is near or past.
func (r gpgRow) expiry(now time.Time) string {
	if r.Expires == nil {
		return "never expires"
	}
	return expiryText(*r.Expires, now)
}
