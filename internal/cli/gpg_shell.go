package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	gnupghome "signkit/gpgagent/home"
)

// The lines that a shell evaluates. They are for any POSIX shell, also under set -eu, and end
// with status 0.
//
// The EXIT trap that the shell has is kept: `trap` alone prints it as a command that can be
// read again, and becomes an argument of a function here. In a command substitution bash prints
// the traps of the parent until one is changed; those are not this shell's. When the shell ends,
// the old trap runs after ours and sees the status with which the shell ends. No
// line may end with another status than 0, since set -e would end the trap there.
//
// The trap does not run when the shell is killed; the process that the first line starts notices that. It is
// the shell's own child that calls it, and so knows which shell that is.
const shellTrap = `{WATCH} || :
signkit_gpg_old=
signkit_gpg_take() { case ${2-} in EXIT | 0) signkit_gpg_old=$1 ;; esac; }
[ "${BASH_SUBSHELL:-0}" = 0 ] || trap - URG
trap >|"$GNUPGHOME/signkit-traps"
eval "$(sed 's/^trap -- /signkit_gpg_take /' "$GNUPGHOME/signkit-traps")"
signkit_gpg_old_{SUFFIX}=$signkit_gpg_old
trap 'signkit_gpg_status=$?
{KILL} >/dev/null 2>&1 || :
case $signkit_gpg_status in
0) eval "$signkit_gpg_old_{SUFFIX}" ;;
*) (exit "$signkit_gpg_status") || eval "$signkit_gpg_old_{SUFFIX}" ;;
esac' EXIT
`

// shellLines sets the variables and, if asked, the trap that ends the GNUPGHOME with the shell.
func shellLines(home *gnupghome.Home, fingerprints []string, trap bool) string {
	var b strings.Builder
	for _, variable := range gpgVariables(home, fingerprints) {
		name, value, _ := strings.Cut(variable, "=")
		fmt.Fprintf(&b, "export %s=%s\n", name, shellQuote(value))
	}
	if trap {
		_, suffix, _ := strings.Cut(filepath.Base(home.Dir), ".")
		call := func(verb string) string {
			return shellQuote(program()) + " gpg " + verb + " --homedir " + shellQuote(home.Dir)
		}
		// Inside the trap's quotes.
		kill := strings.ReplaceAll(call("kill"), "'", `'\''`)
		b.WriteString(strings.NewReplacer("{SUFFIX}", suffix, "{KILL}", kill, "{WATCH}", call(gnupghome.WatchWord)).Replace(shellTrap))
	}
	return b.String()
}

// gpgVariables is what the steps that sign need, in the form NAME=value.
func gpgVariables(home *gnupghome.Home, fingerprints []string) []string {
	list := []string{"GNUPGHOME=" + home.Dir, "GPG_KEY_ID=" + fingerprints[0]}
	if len(fingerprints) > 1 {
		list = append(list, "GPG_KEY_IDS="+strings.Join(fingerprints, " "))
	}
	return list
}

// shellFailure makes `eval "$(signkit gpg init)"` fail: without output the eval would succeed.
// Where the shell goes on nevertheless, gpg must not sign with another key that it finds.
func shellFailure(code int) string {
	return fmt.Sprintf("unset GPG_KEY_ID GPG_KEY_IDS; export GNUPGHOME=/nonexistent/signkit-gpg-init-failed; (exit %d)\n", code)
}

// program is this program, as a trap can call it when PATH has changed.
func program() string {
	if path, err := os.Executable(); err == nil {
		return path
	}
	return "signkit"
}
