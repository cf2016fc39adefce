package artifact

import (
	"context"
	"encoding/asn1"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/smallstep/pkcs7"
)

var cmsFormat = format{
	kind: CMS,
	facts: Facts{
		Files: "anything else, with --cms", Tool: "openssl", Judge: "openssl",
		Versions: "OpenSSL 1.1.1 or later, with libp11's engine or pkcs11-provider",
		Keys:     "RSA, ECDSA",
		Several:  "refused unless --existing allows it",
		Limits:   "as for `file`",
	},
	beside: cmsBeside,
	lists:  checksumList,
	sign:   signsList(cmsBeside, (*Signer).signCMS),
	verify: verifiesList(cmsBeside, verification.verifyCMS),
}

func cmsBeside(name string) []string { return []string{name + ".p7s"} }

// signCMS makes a detached signature in DER with the signer's certificates (RFC 5652).
func (s *Signer) signCMS(ctx context.Context, file, dir string) ([]Output, error) {
	signer, issuers := filepath.Join(dir, ".signer.pem"), filepath.Join(dir, ".issuers.pem")
	if err := os.WriteFile(signer, encodePEM(s.X509.Chain[:1]), 0o600); err != nil {
		return nil, err
	}
	name := filepath.Base(file) + ".p7s"
	path := filepath.Join(dir, name)
	args := []string{"cms", "-sign", "-binary", "-in", file, "-out", path, "-outform", "DER", "-md", s.X509.digest(),
		"-signer", signer, "-inkey", s.X509.uri()}
	// -signer adds that certificate to the message; OpenSSL before 3.2 fails where -certfile has it again.
	if len(s.X509.Chain) > 1 {
		if err := os.WriteFile(issuers, encodePEM(s.X509.Chain[1:]), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "-certfile", issuers)
	}
	if s.opensslProvider(ctx) {
		args = append(args, "-provider", "pkcs11", "-provider", "default")
	} else {
		args = append(args, "-engine", "pkcs11", "-keyform", "engine")
	}
	if _, err := run(ctx, s.moduleEnvironment(), "", "openssl", args...); err != nil {
		return nil, err
	}
	return []Output{{path, name}}, nil
}

// verifyCMS takes the signers who were named from the message, and lets openssl verify it with
// their certificates alone.
func (v verification) verifyCMS(ctx context.Context, file, dir string) error {
	signature := filepath.Join(dir, filepath.Base(file)+".p7s")
	data, err := readIndex(signature)
	if err != nil {
		return err
	}
	var whole asn1.RawValue
	if rest, err := asn1.Unmarshal(data, &whole); err == nil && len(rest) > 0 {
		return fmt.Errorf("%s has octets behind the signature", filepath.Base(signature))
	}
	message, err := pkcs7.Parse(data)
	if err != nil {
		return fmt.Errorf("reading %s: %w", filepath.Base(signature), err)
	}
	accepted, err := v.acceptedSigners([]*pkcs7.PKCS7{message})
	if err != nil {
		return err
	}
	if err := v.unrevoked(ctx, accepted, []*pkcs7.PKCS7{message}); err != nil {
		return err
	}
	signers := v.path("signers.pem")
	if err := os.WriteFile(signers, encodePEM(accepted), 0o600); err != nil {
		return err
	}
	args := []string{"cms", "-verify", "-binary", "-inform", "DER", "-in", signature, "-content", file, "-nointern", "-certfile", signers,
		"-purpose", "any", "-out", os.DevNull}
	if v.Roots != "" {
		args = append(args, "-CAfile", v.Roots)
	} else {
		args = append(args, "-CAfile", signers, "-partial_chain") // the certificate that was named is trusted as it is
	}
	_, err = run(ctx, v.environment(), "", "openssl", append(args, v.trustNothingElse(ctx)...)...)
	return err
}

// trustNothingElse are the flags without which openssl trusts the machine's roots beside -CAfile;
// before 3.0 it knows no -no-CAstore.
func (v verification) trustNothingElse(ctx context.Context) []string {
	flags := []string{"-no-CAfile", "-no-CApath"}
	help, _ := run(ctx, v.environment(), "", "openssl", "verify", "-help")
	if strings.Contains(help, "-no-CAstore") {
		flags = append(flags, "-no-CAstore")
	}
	return flags
}
