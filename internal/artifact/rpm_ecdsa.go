package artifact

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
)

// RPMVersion tells the version of this machine's rpm, and whether it can check ECDSA signatures: it does OpenPGP with
// Sequoia, as all of 4.20 and later do, and some before (RHEL 10's 4.19). Others sign with an ECDSA key, and then
// refuse their own package. images/matrix.json has the same per release (rpm_ecdsa).
func RPMVersion(ctx context.Context, environ []string) (version string, ecdsa bool, err error) {
	output, err := run(ctx, environ, "", "rpm", "--version")
	if err != nil {
		return "", false, err
	}
	if words := strings.Fields(output); len(words) > 0 {
		version = words[len(words)-1]
	}
	return version, rpmIsAtLeast(version, 4, 20) || rpmUsesSequoia(ctx, environ), nil
}

func rpmIsAtLeast(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	a, errA := strconv.Atoi(first)
	b, errB := strconv.Atoi(second)
	return errA == nil && errB == nil && (a > major || a == major && b >= minor)
}

// rpmUsesSequoia looks at the libraries of the program that verifies.
func rpmUsesSequoia(ctx context.Context, environ []string) bool {
	program, err := exec.LookPath("rpmkeys")
	if err != nil {
		return false
	}
	libraries, err := run(ctx, environ, "", "ldd", program)
	return err == nil && strings.Contains(libraries, "rpm_sequoia")
}
