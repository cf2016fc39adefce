package artifact

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"

	"github.com/smallstep/pkcs7"
)

// systemRoots is where the distributions keep them: Debian's name, then RHEL's.
var systemRoots = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"}

// roots returns the path of a PEM file with what the user trusts. Without a choice of theirs
// that is the system's roots and, where the signer's chain is known, the root at its end.
func (v verification) roots() (string, error) {
	if v.Roots != "" {
		return v.Roots, nil
	}
	trusted := readSystemRoots()
	for _, certificate := range v.Chain {
		if bytes.Equal(certificate.RawSubject, certificate.RawIssuer) {
			trusted = append(trusted, encodePEM([]*x509.Certificate{certificate})...)
		}
	}
	file := v.path("roots.pem")
	return file, os.WriteFile(file, trusted, 0o600)
}

func readSystemRoots() []byte {
	for _, bundle := range systemRoots {
		if data, err := os.ReadFile(bundle); err == nil {
			return append(data, '\n')
		}
	}
	return nil
}

// Exit bits of `jarsigner -verify -strict` (JDK, "jarsigner", Errors and Warnings).
const (
	jarChain = 4 // the chain leads to no known root, or a certificate has expired
)

// jar lets jarsigner check every entry. Without roots a chain that leads nowhere known is
// accepted, but then the signer must be the one that was named.
func (v verification) jar(ctx context.Context, file string) error {
	args := []string{"-J-Duser.language=en", "-verify", "-strict"}
	if v.Roots != "" {
		store, err := v.trustStore(ctx)
		if err != nil {
			return err
		}
		args = append(args, "-keystore", store, "-storepass", storePassword)
	}
	output, err := run(ctx, v.environment(), "", "jarsigner", append(args, file)...)
	if strings.Contains(output, "jar is unsigned") {
		return ErrUnsigned
	}
	exit, ended := errors.AsType[*exec.ExitError](err)
	if err != nil && !(ended && v.Roots == "" && exit.ExitCode() == jarChain) {
		return err
	}
	if !strings.Contains(output, "jar verified") {
		return &ToolError{Tool: "jarsigner", Cause: lastLine(output, errors.New("did not verify it")), Output: output, err: err}
	}
	if v.TimeStamp && strings.Contains(output, "not include a timestamp") {
		return errors.New("there is no time-stamp")
	}
	return v.jarSigner(file)
}

const storePassword = "changeit" // of a file with public certificates

func (v verification) trustStore(ctx context.Context) (string, error) {
	store := v.path("roots.p12")
	_, err := run(ctx, v.environment(), "", "keytool", "-importcert", "-noprompt", "-alias", "root", "-file", v.Roots,
		"-keystore", store, "-storetype", "PKCS12", "-storepass", storePassword)
	return store, err
}

// jarSigner compares the signer's certificate with the one that was named.
func (v verification) jarSigner(file string) error {
	if len(v.Chain) == 0 {
		return nil
	}
	archive, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer archive.Close()
	for _, entry := range archive.File {
		if path.Dir(entry.Name) != "META-INF" || !slices.Contains([]string{".RSA", ".EC", ".DSA"}, path.Ext(entry.Name)) {
			continue
		}
		block, err := entry.Open()
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(block, 1<<20))
		block.Close()
		if err != nil {
			return err
		}
		// jarsigner has checked the block; here it only matters whose it is.
		if signedBy(data, v.Chain[0]) {
			return nil
		}
	}
	return fmt.Errorf("%w by %s", ErrUnsigned, v.Chain[0].Subject)
}

// signedBy reports whether the CMS SignedData names the certificate as that of a signer (RFC
// 5652, section 5.3).
func signedBy(block []byte, signer *x509.Certificate) bool {
	signed, err := pkcs7.Parse(block)
	if err != nil {
		return false
	}
	for _, info := range signed.Signers {
		id := info.IssuerAndSerialNumber
		if bytes.Equal(id.IssuerName.FullBytes, signer.RawIssuer) && id.SerialNumber.Cmp(signer.SerialNumber) == 0 {
			return true
		}
	}
	return false
}

func (v verification) authenticode(ctx context.Context, file string) error {
	roots, err := v.roots()
	if err != nil {
		return err
	}
	args := []string{"verify", "-CAfile", roots, "-untrusted", roots, "-in", file}
	if offers(ctx, v.Environ, "verify", "-TSA-CAfile") {
		args[3] = "-TSA-CAfile"
	}
	if len(v.Chain) > 0 {
		sum := sha256.Sum256(v.Chain[0].Raw)
		args = append(args, "-require-leaf-hash", "sha256:"+hex.EncodeToString(sum[:]))
	}
	output, err := run(ctx, v.environment(), "", "osslsigncode", args...)
	if _, missing := errors.AsType[*MissingToolError](err); missing {
		return err
	}
	return v.authenticodeReport(output, err)
}

// authenticodeReport reads the words of osslsigncode, which takes a missing or bad time-stamp
// as no reason to fail.
func (v verification) authenticodeReport(output string, err error) error {
	signatures := strings.Count(output, "Signature verification: ok") - strings.Count(output, "Server Signature verification: ok")
	failed := func(cause string) error {
		return &ToolError{Tool: "osslsigncode", Cause: cause, Output: output, err: errors.Join(err, errNotVerified)}
	}
	switch {
	case strings.Contains(output, "No signature found"), strings.Contains(output, "does not have any signature"),
		strings.Contains(output, "Unable to extract existing signature"):
		return ErrUnsigned
	case err != nil && strings.Contains(output, "unable to get local issuer certificate"),
		err != nil && strings.Contains(output, "self-signed certificate in certificate chain"):
		return failed("the certificate leads to no trusted root; name it with --root")
	case err != nil:
		return err
	case signatures < 1:
		return failed("no signature verifies")
	case v.TimeStamp && strings.Contains(output, "Timestamp is not available"):
		return failed("there is no time-stamp")
	case strings.Contains(output, "Timestamp Server Signature verification: failed"):
		return failed("the time-stamp does not verify")
	}
	return nil
}

var errNotVerified = errors.New("not verified")

func (v verification) cms(ctx context.Context, file, signature string) error {
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
