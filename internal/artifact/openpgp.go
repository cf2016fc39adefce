package artifact

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// environment of tools that call gpg.
func (s *Signer) gpgEnvironment() []string {
	return append(slices.Clone(s.Environ), "GNUPGHOME="+s.OpenPGP.Home, "LC_ALL=C.UTF-8")
}

// gpg makes one signature file.
func (s *Signer) gpg(ctx context.Context, file, dir, name string, command ...string) ([]Output, error) {
	path := filepath.Join(dir, name)
	args := append([]string{"--batch", "--no-tty", "--yes", "--local-user", s.OpenPGP.Fingerprint, "--output", path}, command...)
	if _, err := run(ctx, s.gpgEnvironment(), "", "gpg", append(args, "--", file)...); err != nil {
		return nil, err
	}
	return []Output{{path, name}}, nil
}

// signAptRelease makes both signatures that clients look for (apt-secure(8)). SHA-512, since
// apt refuses SHA-1 whatever the key prefers.
func (s *Signer) signAptRelease(ctx context.Context, file, dir string) ([]Output, error) {
	inline, err := s.gpg(ctx, file, dir, "InRelease", "--digest-algo", "SHA512", "--clear-sign")
	if err != nil {
		return nil, err
	}
	detached, err := s.gpg(ctx, file, dir, "Release.gpg", "--digest-algo", "SHA512", "--armor", "--detach-sign")
	return append(inline, detached...), err
}

func (s *Signer) signRPM(ctx context.Context, path string) error {
	if err := s.checkRPMAlgorithm(ctx); err != nil {
		return err
	}
	program, err := exec.LookPath("gpg")
	if err != nil {
		return &MissingToolError{Tool: "gpg", Package: packages["gpg"]}
	}
	mode := "--addsign"
	if s.Replace {
		mode = "--resign"
	}
	// Some releases name a gpg2 in %__gpg that they do not install.
	_, err = run(ctx, s.gpgEnvironment(), "", "rpmsign", "--define", "_gpg_name "+s.OpenPGP.Fingerprint,
		"--define", "__gpg "+program, mode, path)
	return err
}

// checkRPMAlgorithm refuses a key whose signatures this rpm cannot check.
func (s *Signer) checkRPMAlgorithm(ctx context.Context) error {
	version, ecdsa, err := RPMVersion(ctx, s.Environ)
	if err != nil || ecdsa {
		return err
	}
	output, err := run(ctx, s.gpgEnvironment(), "", "gpg", "--batch", "--with-colons", "--list-keys", s.OpenPGP.Fingerprint)
	if err != nil {
		return err
	}
	for line := range strings.Lines(output) {
		// Field 4 is the algorithm (GnuPG, doc/DETAILS); 19 is ECDSA (RFC 4880bis, section 9.1).
		if fields := strings.Split(line, ":"); fields[0] == "pub" && len(fields) > 3 && fields[3] == "19" {
			return fmt.Errorf("rpm %s cannot check ECDSA signatures; choose a policy with an RSA key", version)
		}
	}
	return nil
}

// originMember is the member that holds debsigs' signature of type "origin".
const originMember = "_gpgorigin"

func (s *Signer) signDeb(ctx context.Context, path string) error {
	if s.Replace {
		if _, err := run(ctx, s.Environ, "", "debsigs", "--delete=origin", path); err != nil {
			return err
		}
	}
	output, err := run(ctx, s.gpgEnvironment(), "", "debsigs", "--sign=origin", "--default-key="+s.OpenPGP.Fingerprint, path)
	if err != nil {
		return err
	}
	// debsigs can fail with exit status 0.
	members, err := run(ctx, s.Environ, "", "ar", "t", path)
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(members), originMember) {
		return &ToolError{Tool: "debsigs", Cause: "made no signature", Output: output, err: os.ErrInvalid}
	}
	return nil
}
