package artifact

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

var cmsFormat = format{
	kind:   CMS,
	beside: func(name string) []string { return []string{name + ".p7s"} },
	sign:   (*Signer).signCMS,
	verify: verification.verifyCMS,
}

// signCMS makes a detached signature in DER with the signer's certificates (RFC 5652).
func (s *Signer) signCMS(ctx context.Context, file, dir string) ([]Output, error) {
	certificates, err := s.writeChain(dir)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(file) + ".p7s"
	path := filepath.Join(dir, name)
	via := []string{"-engine", "pkcs11", "-keyform", "engine"}
	if s.opensslProvider(ctx) {
		via = []string{"-provider", "pkcs11", "-provider", "default"}
	}
	// -signer takes the first certificate of the file, -certfile adds them all.
	args := append([]string{"cms", "-sign", "-binary", "-in", file, "-out", path, "-outform", "DER", "-md", s.X509.digest(),
		"-signer", certificates, "-certfile", certificates, "-inkey", s.X509.uri()}, via...)
	if _, err := run(ctx, s.moduleEnvironment(), "", "openssl", args...); err != nil {
		return nil, err
	}
	return []Output{{path, name}}, nil
}

func (v verification) verifyCMS(ctx context.Context, file, dir string) error {
	signature := filepath.Join(dir, filepath.Base(file)+".p7s")
	roots, err := v.roots()
	if err != nil {
		return err
	}
	args := []string{"cms", "-verify", "-binary", "-inform", "DER", "-in", signature, "-content", file, "-CAfile", roots,
		"-purpose", "any", "-out", os.DevNull}
	if _, err := run(ctx, v.environment(), "", "openssl", args...); err != nil {
		return err
	}
	if len(v.Chain) == 0 {
		return nil
	}
	data, err := os.ReadFile(signature)
	if err != nil {
		return err
	}
	if !signedBy(data, v.Chain[0]) {
		return fmt.Errorf("%w by %s", ErrUnsigned, v.Chain[0].Subject)
	}
	return nil
}
