package artifact

import (
	"context"
	"path/filepath"
)

// plainFormat takes what no other format does.
var plainFormat = format{
	kind: Plain, openPGP: true,
	facts: Facts{
		Files: "anything else", Tool: "gpg", Judge: "gpgv",
		Versions: "GnuPG 2.2 or later",
		Keys:     "RSA, ECDSA",
		Several:  "refused unless --existing allows it",
		Limits:   "the files in a checksum list must be present and match it",
	},
	beside:  armorBeside,
	match:   func(*candidate) bool { return true },
	lists:   checksumList,
	sign:    signsList(armorBeside, (*Signer).signDetached),
	signers: verification.detachedSigners,
	verify:  verifiesList(armorBeside, verification.verifyDetached),
}

// armorBeside: gpg's own name for an armored signature.
func armorBeside(name string) []string { return []string{name + ".asc"} }

func (s *Signer) signDetached(ctx context.Context, file, dir string) ([]Output, error) {
	return s.gpg(ctx, file, dir, filepath.Base(file)+".asc", "--armor", "--detach-sign")
}

func (v verification) verifyDetached(ctx context.Context, file, dir string) error {
	signature := filepath.Join(dir, filepath.Base(file)+".asc")
	return v.verifyDetachedFile(ctx, signature, file)
}

func (v verification) detachedSigners(_ context.Context, file, dir string) ([]signer, error) {
	return fileSigners(filepath.Join(dir, filepath.Base(file)+".asc"))
}
