package cli

import (
	"os/exec"
	"testing"
)

func TestShellsReadQuotedWordsAsTheyWere(t *testing.T) {
	for _, shell := range []string{"dash", "bash"} {
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not here", shell)
			continue
		}
		for _, word := range []string{"", "plain/word", "two words", "it's", `"`, `\`, "$HOME", "`id`", "a\nb", "*", "~", "#x", "ä", "!", "a;b", "-n", "x=1"} {
			got, err := exec.Command(path, "-c", "printf '[%s]' "+shellQuote(word)).Output()
			if err != nil || string(got) != "["+word+"]" {
				t.Errorf("%s reads %s as %q (%v)", shell, shellQuote(word), got, err)
			}
		}
	}
}
