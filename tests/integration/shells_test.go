package integration

import (
	"slices"
	"testing"
)

// TestGPGInEveryShell: the one line and the vendor's function prepare the shells that distributions have as sh and bash. At the
// end of the shell the agent has gone, and so has the folder.
func TestGPGInEveryShell(t *testing.T) {
	s := need(t)
	const sign = `
echo content >file
gpg --batch --yes -u "$GPG_KEY_ID" --detach-sign file
gpg --batch --verify file.sig file
echo "$GNUPGHOME" >home`
	for shell, command := range map[string][]string{
		"sh": {"sh", "-euc"}, "dash": {"dash", "-euc"}, "bash": {"bash", "-euc"}, "bash-posix": {"bash", "--posix", "-euc"},
	} {
		for name, prepare := range map[string]string{
			"line":     `setup=$(signkit gpg init demo/gpg-rsa-4096) && eval "$setup"`,
			"function": `. /usr/share/signkit/signkit-gpg.sh && InitializeSignPathCryptoProviderGpgSigning -ProjectSlug demo -SigningPolicySlug gpg-rsa-4096`,
		} {
			cells := s.inAll(users[1:2], cell{sample: "gpg", form: shell + "-" + name, key: "demo/gpg-rsa-4096"})
			if shell == "dash" { // which the RHEL family does not have
				cells = slices.DeleteFunc(cells, func(c cell) bool { return c.image.Family == "rhel" })
			}
			s.each(t, cells, func(w *workplace) {
				run := append([]string{"sh", "-euc", `"$@"; ! test -e "$(cat home)"`, "sh"}, command...)
				if got := w.tool(append(run, prepare+sign)...); got.code != 0 {
					w.Errorf("ended with %d", got.code)
				}
			})
		}
	}
}
