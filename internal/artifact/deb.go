package artifact

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

var debFormat = format{
	kind: Deb, openPGP: true, embedded: true,
	match:  func(c *candidate) bool { return c.hasMagic("!<arch>\ndebian-binary") }, // deb(5)
	sign:   inPlace((*Signer).signDeb),
	verify: verification.verifyDeb,
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

const debsigPolicy = `<?xml version="1.0"?>
<!DOCTYPE Policy SYSTEM "https://www.debian.org/debsig/1.0/policy.dtd">
<Policy xmlns="https://www.debian.org/debsig/1.0/">
  <Origin Name="signkit" id="%[1]s" Description="the key that was named"/>
  <Selection><Required Type="origin" File="key.gpg" id="%[1]s"/></Selection>
  <Verification MinOptional="0"><Required Type="origin" File="key.gpg" id="%[1]s"/></Verification>
</Policy>
`

func (v verification) verifyDeb(ctx context.Context, file, _ string) error {
	members, err := run(ctx, v.environment(), "", "ar", "t", file)
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(members), originMember) {
		return ErrUnsigned
	}
	id, err := v.keyID(ctx)
	if err != nil {
		return err
	}
	keyring, err := v.keyring(ctx)
	if err != nil {
		return err
	}
	policies, keyrings := v.path("policies"), v.path("keyrings")
	for _, dir := range []string{filepath.Join(policies, id), filepath.Join(keyrings, id)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.Rename(keyring, filepath.Join(keyrings, id, "key.gpg")); err != nil {
		return err
	}
	policy := fmt.Sprintf(debsigPolicy, id)
	if err := os.WriteFile(filepath.Join(policies, id, "signkit.pol"), []byte(policy), 0o644); err != nil {
		return err
	}
	environ, err := v.debsigEnvironment()
	if err != nil {
		return err
	}
	_, err = run(ctx, environ, "", "debsig-verify", "--policies-dir", policies, "--keyrings-dir", keyrings, file)
	return err
}
