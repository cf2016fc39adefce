package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var authenticodeFormat = format{
	kind: Authenticode, embedded: true,
	facts: Facts{
		Files: "Windows programs (PE), MSI, CAB, PowerShell", Tool: "osslsigncode", Judge: "osslsigncode",
		Versions:  "osslsigncode 2.1 or later; 2.8 for PowerShell; 2.10 for pkcs11-provider instead of libp11's engine",
		Keys:      "RSA, ECDSA",
		Several:   "replaced",
		TimeStamp: "RFC 3161",
		Limits:    "less than 4 GiB; MSI of more than 6.8 MB, in sectors of 512 octets, not with osslsigncode 2.2 to 2.6",
	},
	match:  isAuthenticode,
	sign:   (*Signer).signAuthenticode,
	verify: verification.verifyAuthenticode,
}

// isAuthenticode knows PE files, cabinets, Windows Installer's compound files and PowerShell.
func isAuthenticode(c *candidate) bool {
	return isPE(c.content, c.head) || c.hasMagic(cabMagic) ||
		c.hasMagic(msiMagic) && c.hasExtension(".msi", ".msp", ".mst") ||
		c.hasExtension(scriptEndings...)
}

// How a cabinet begins, and a compound file, which an installer is.
const cabMagic, msiMagic = "MSCF", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// scriptEndings are those of PowerShell's files.
var scriptEndings = []string{".ps1", ".psm1", ".psd1", ".ps1xml"}

// isPE follows the offset at 0x3c to the signature (PE format, "Signature").
func isPE(file io.ReaderAt, head []byte) bool {
	if len(head) < 0x40 || !bytes.HasPrefix(head, []byte("MZ")) {
		return false
	}
	var signature [4]byte
	_, err := file.ReadAt(signature[:], int64(binary.LittleEndian.Uint32(head[0x3c:])))
	return err == nil && string(signature[:]) == "PE\x00\x00"
}

func (s *Signer) signAuthenticode(ctx context.Context, file, dir string) ([]Output, error) {
	certificates, err := s.writeChain(dir)
	if err != nil {
		return nil, err
	}
	provider, err := s.osslsigncodeHasProviders(ctx)
	if err != nil {
		return nil, err
	}
	name := filepath.Base(file)
	path := filepath.Join(dir, name)
	args := []string{"sign", "-pkcs11module", s.X509.Module}
	if provider {
		args = []string{"sign", "-provider", "pkcs11"}
	}
	args = append(args, "-certs", certificates, "-key", s.X509.uri(), "-h", s.X509.digest())
	args = append(args, "-in", file, "-out", path)
	if err := s.stamped(ctx, func(environ []string, authority string) error {
		if authority != "" {
			args = append(args, "-ts", authority)
		}
		_, err := run(ctx, environ, "", "osslsigncode", args...)
		return err
	}); err != nil {
		return nil, err
	}
	return []Output{{path, name}}, nil
}

// osslsigncodeHasProviders: from 2.10 on -pkcs11module sets a variable that only libp11 reads,
// and where a provider is found it would use another module, silently.
func (s *Signer) osslsigncodeHasProviders(ctx context.Context) (bool, error) {
	output, err := run(ctx, withoutCredentials(s.Environ), "", "osslsigncode", "--version")
	if words := strings.Fields(strings.ReplaceAll(output, ",", " ")); len(words) > 1 && words[0] == "osslsigncode" {
		major, minor, _ := strings.Cut(words[1], ".")
		a, _ := strconv.Atoi(major)
		b, _ := strconv.Atoi(strings.FieldsFunc(minor+".0", func(r rune) bool { return r < '0' || r > '9' })[0])
		return (a > 2 || a == 2 && b >= 10) && s.opensslProvider(ctx), nil
	}
	return false, err
}

// checkAuthenticode reads the structure of those formats of which a digest leaves something out.
func checkAuthenticode(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, 0x40)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	c := &candidate{head: head[:n]}
	switch {
	case isPE(file, head[:n]):
		return checkPE(file, info.Size())
	case c.hasMagic(cabMagic):
		return checkCAB(file, info.Size())
	case c.hasMagic(msiMagic):
		return checkMSI(file, info.Size())
	case slices.Contains(scriptEndings, strings.ToLower(filepath.Ext(path))):
		return checkScript(path)
	}
	return nil
}

func (v verification) verifyAuthenticode(ctx context.Context, file, _ string) error {
	if err := checkAuthenticode(file); err != nil {
		return err
	}
	roots, err := v.roots()
	if err != nil {
		return err
	}
	help, _ := run(ctx, v.environment(), "", "osslsigncode", "verify", "--help")
	args := []string{"verify", "-CAfile", roots, "-untrusted", roots, "-in", file}
	if strings.Contains(help, "-TSA-CAfile") {
		args[3] = "-TSA-CAfile"
	}
	if len(v.Chain) > 0 {
		sum := sha256.Sum256(v.Chain[0].Raw)
		args = append(args, "-require-leaf-hash", "sha256:"+hex.EncodeToString(sum[:]))
	}
	// From 2.8 on it fetches the revocation lists that certificates name, and fails where it cannot.
	for _, flag := range []string{"-ignore-crl", "-ignore-cdp"} {
		if strings.Contains(help, flag) {
			args = append(args, flag)
		}
	}
	output, err := run(ctx, v.environment(), "", "osslsigncode", args...)
	if _, missing := errors.AsType[*MissingToolError](err); missing {
		return err
	}
	return v.authenticodeReport(output, err)
}

// authenticodeSigner finds the subject of the first certificate that osslsigncode lists.
var authenticodeSigner = regexp.MustCompile(`Signer #0:\s+Subject:\s*(.+)`)

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
	case v.Roots == "" && len(v.Chain) == 0:
		match := authenticodeSigner.FindStringSubmatch(output)
		if match == nil {
			return failed("it names no signer")
		}
		return &NotComparedError{Signers: strconv.QuoteToGraphic(match[1])}
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
