package integration

import "testing"

// TestBridgeRunsForOurGNUPGHOMEsOnly: tools that make a GNUPGHOME of their own (dnf's checks of keys) start no bridge in it, which
// would keep the token. One that is prepared with signkit has it.
func TestBridgeRunsForOurGNUPGHOMEsOnly(t *testing.T) {
	s := need(t)
	const script = `
bridges() { for process in /proc/[0-9]*; do tr '\0' '\n' <"$process/cmdline" 2>/dev/null | head -n 1 | grep 'signkit-scdaemon$' || true; done; }
foreign=$(mktemp -d)
GNUPGHOME=$foreign gpg --batch --passphrase '' --quick-gen-key foreign rsa2048 sign never
GNUPGHOME=$foreign gpg --batch --list-secret-keys
echo content >file
GNUPGHOME=$foreign gpg --batch --output file.sig --detach-sign file
test -z "$(bridges)"
signkit gpg init --homedir "$foreign" "$1" >lines
eval "$(cat lines)"
gpg --batch --local-user "$GPG_KEY_ID" --output file.ours.sig --detach-sign file
test -n "$(bridges)"
signkit gpg kill`
	s.each(t, s.inAll(users[1:2], cell{sample: "gpg", form: "foreign-home", key: "demo/gpg-rsa-4096"}), func(w *workplace) {
		if got := w.tool("bash", "-euo", "pipefail", "-c", script, "bash", w.key); got.code != 0 {
			w.Errorf("ended with %d", got.code)
		}
	})
}
