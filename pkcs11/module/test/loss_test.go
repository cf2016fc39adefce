package moduletest

import (
	"strings"
	"testing"
)

// TestLossOfTheTokenProcessIsExplained: whoever writes all other lines is gone, so the module writes this one itself, once. It does
// not where the program has closed the sockets. (TestSilenceOfTheTokenProcess is about one that is stopped.)
func TestLossOfTheTokenProcessIsExplained(t *testing.T) {
	t.Parallel()
	v := shared.variant[0]
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"killed":   {[]string{"lost", "kill"}, "has ended during a call"},
		"between":  {[]string{"lost", "between"}, "has ended during a call"},
		"replaced": {[]string{"replaced"}, ""},
		"closed":   {[]string{"descriptors"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := shared.run(t, host{args: append([]string{v.program(t, test.args[0]), v.module, "demo/p-256"}, test.args[1:]...)})
			if got.code != 0 {
				t.Fatalf("ended with %d: %s", got.code, got.stderr)
			}
			checkLoss(t, got, test.want)
		})
	}
}

// checkLoss looks for one line with a text, or for none.
func checkLoss(t *testing.T, got outcome, text string) {
	t.Helper()
	lines := strings.Count(got.stderr, "signkit: the token process")
	if want := min(1, len(text)); lines != want || !strings.Contains(got.stderr, text) {
		t.Errorf("%d lines, want %d with %q:\n%s", lines, want, text, got.stderr)
	}
}
