package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/smallstep/pkcs7"
)

var authenticodeFormat = format{
	kind: Authenticode, embedded: true,
	facts: Facts{
		Files: "Windows programs (PE), MSI, CAB, app packages, catalogs, PowerShell, .mof, .js", Tool: "osslsigncode", Judge: "osslsigncode",
		Versions:  "osslsigncode 2.1 or later; 2.7 for app packages; 2.8 for catalogs, PowerShell and .mof; 2.10 for .js, and to use pkcs11-provider instead of libp11's engine",
		Keys:      "RSA, ECDSA",
		Several:   "PE: kept, and ours is nested; others: refused unless --existing allows it",
		TimeStamp: "RFC 3161",
		Limits:    "less than 4 GiB; MSI files over 6.8 MB with 512-byte sectors not with osslsigncode 2.2 to 2.6; the names of an MSI's streams are covered only with `MsiDigitalSignatureEx`, which signkit adds",
	},
	match:    isAuthenticode,
	sign:     (*Signer).signAuthenticode,
	existing: verification.authenticodeSigners,
	single:   authenticodeHoldsOne,
	verify:   verification.verifyAuthenticode,
}

// authenticodeFile is a format that Windows looks for an Authenticode signature in.
type authenticodeFile struct {
	name  string
	since release // of osslsigncode that signs and verifies it (its NEWS.md)
	match func(c *candidate) bool
}

// authenticodeFiles in the order in which a file is compared with them.
var authenticodeFiles = []authenticodeFile{
	{"a PE file", release{2, 1}, func(c *candidate) bool { return isPE(c.content, c.head) }},
	{"a cabinet", release{2, 1}, func(c *candidate) bool { return c.hasMagic(cabMagic) }},
	{"a Windows Installer package", release{2, 1}, func(c *candidate) bool {
		return c.hasMagic(msiMagic) && c.hasExtension(".msi", ".msp", ".mst")
	}},
	{"an app package (appx, msix)", release{2, 7}, isAppPackage},
	{"a security catalog", release{2, 8}, func(c *candidate) bool { return c.hasExtension(".cat") }},
	{"a script of PowerShell", release{2, 8}, func(c *candidate) bool {
		return c.hasExtension(".ps1", ".psm1", ".psd1", ".ps1xml", ".psc1", ".cdxml")
	}},
	{"a managed object file (mof)", release{2, 8}, func(c *candidate) bool { return c.hasExtension(".mof") }},
	{"JavaScript", release{2, 10}, func(c *candidate) bool { return c.hasExtension(".js") }},
}

// isAuthenticode knows what osslsigncode does, in its newest release.
func isAuthenticode(c *candidate) bool {
	return slices.ContainsFunc(authenticodeFiles, func(f authenticodeFile) bool { return f.match(c) })
}

// isAppPackage knows a package or a bundle of them by its manifest (MS-APPX), or by its name.
func isAppPackage(c *candidate) bool {
	return c.hasExtension(".appx", ".appxbundle", ".msix", ".msixbundle") || c.hasEntry("AppxManifest.xml") ||
		c.hasEntry("AppxMetadata/AppxBundleManifest.xml")
}

// How a cabinet begins, and a compound file, which an installer is.
const cabMagic, msiMagic = "MSCF", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

// scriptEndings are those of PowerShell's files, of management's and of JavaScript.
var scriptEndings = []string{".ps1", ".psm1", ".psd1", ".ps1xml", ".psc1", ".cdxml", ".mof", ".js"}

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
	if err := osslsigncodeKnows(ctx, withoutCredentials(s.Environ), file); err != nil {
		return nil, err
	}
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
	if s.Add {
		args = append(args, "-nest")
	}
	installer, err := isInstaller(file)
	if err != nil {
		return nil, err
	}
	if installer {
		args = append(args, "-add-msi-dse") // without, a signature says nothing of the streams' names
	}
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

// isInstaller knows a compound file.
func isInstaller(path string) (bool, error) {
	file, c, err := openCandidate(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	return c.hasMagic(msiMagic), nil
}

// osslsigncodeHasProviders: from 2.10 on -pkcs11module sets a variable that only libp11 reads,
// and where a provider is found it would use another module, silently.
func (s *Signer) osslsigncodeHasProviders(ctx context.Context) (bool, error) {
	installed, err := osslsigncodeVersion(ctx, withoutCredentials(s.Environ))
	return err == nil && installed.isAtLeast(release{2, 10}) && s.opensslProvider(ctx), err
}

// release is a version of a tool, as far as it matters.
type release struct{ major, minor int }

func (r release) isAtLeast(other release) bool {
	return r.major > other.major || r.major == other.major && r.minor >= other.minor
}

func (r release) String() string { return fmt.Sprintf("%d.%d", r.major, r.minor) }

// osslsigncodeVersion reads the first line of what it prints: "osslsigncode 2.9, using:".
func osslsigncodeVersion(ctx context.Context, environ []string) (release, error) {
	output, err := run(ctx, environ, "", "osslsigncode", "--version")
	words := strings.Fields(strings.ReplaceAll(output, ",", " "))
	if len(words) < 2 || words[0] != "osslsigncode" {
		return release{}, err // some end with a status of failure
	}
	major, minor, _ := strings.Cut(words[1], ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(strings.FieldsFunc(minor+".0", func(r rune) bool { return r < '0' || r > '9' })[0])
	return release{a, b}, nil
}

// osslsigncodeKnows refuses a file of a format that came with a later osslsigncode.
func osslsigncodeKnows(ctx context.Context, environ []string, path string) error {
	file, c, err := openCandidate(path)
	if err != nil {
		return err
	}
	defer file.Close()
	i := slices.IndexFunc(authenticodeFiles, func(f authenticodeFile) bool { return f.match(c) })
	if i < 0 {
		return nil // it was called so by somebody else
	}
	installed, err := osslsigncodeVersion(ctx, environ)
	if err != nil {
		return err
	}
	if f := authenticodeFiles[i]; !installed.isAtLeast(f.since) {
		return fmt.Errorf("%s is signed by osslsigncode %s or later, and this is %s; signtool does it on Windows, and --detached makes a signature beside it",
			f.name, f.since, installed)
	}
	return nil
}

// authenticodeSigners are those of the signatures in a file, nested ones among them.
func (v verification) authenticodeSigners(ctx context.Context, file string) ([]signer, error) {
	if err := osslsigncodeKnows(ctx, v.environment(), file); err != nil {
		return nil, err
	}
	signatures, err := embeddedSignatures(file)
	var found []signer
	for _, signature := range signatures {
		found = append(found, cmsSigners(signature)...)
	}
	return found, err
}

// isUnsigned knows the words of osslsigncode for a file without a signature.
func isUnsigned(output string) bool {
	return strings.Contains(output, "No signature found") || strings.Contains(output, "does not have any signature") ||
		strings.Contains(output, "MSI file has no signature") ||
		strings.Contains(output, "Unable to extract existing signature")
}

// authenticodeHoldsOne: Windows looks for further signatures in PE files alone.
func authenticodeHoldsOne(_ verification, _ context.Context, path string) (string, error) {
	file, c, err := openCandidate(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if isPE(c.content, c.head) {
		return "", nil
	}
	return "only PE files hold several Authenticode signatures", nil
}

func (v verification) verifyAuthenticode(ctx context.Context, file, _ string) error {
	if err := osslsigncodeKnows(ctx, v.environment(), file); err != nil {
		return err
	}
	signatures, err := embeddedSignatures(file)
	if err != nil {
		return err
	}
	var blocks []*pkcs7.PKCS7
	var brought []*x509.Certificate
	for _, signature := range signatures {
		blocks = append(blocks, cmsMessages(signature)...)
	}
	for _, block := range blocks {
		brought = append(brought, block.Certificates...)
	}
	if v.Revocation != nil {
		accepted, err := v.acceptedSigners(blocks)
		if err != nil {
			return err
		}
		if err := v.unrevoked(ctx, accepted, blocks); err != nil {
			return err
		}
	}
	roots, err := v.roots(brought)
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
// as no reason to fail. Of several signatures one must hold in every respect.
func (v verification) authenticodeReport(output string, err error) error {
	failed := func(cause string) error {
		return &ToolError{Tool: "osslsigncode", Cause: cause, Output: output, err: errors.Join(err, errNotVerified)}
	}
	parts := strings.Split(output, "Signature Index:")
	if len(parts) > 1 {
		parts = parts[1:] // what stands before is of the file
	}
	switch {
	case isUnsigned(output):
		return ErrUnsigned
	case v.Roots == "" && len(v.Chain) == 0:
		var found []signer
		for _, part := range parts {
			if match := authenticodeSigner.FindStringSubmatch(part); match != nil {
				found = append(found, signer{name: strconv.QuoteToGraphic(match[1])})
			}
		}
		if found == nil {
			return failed("it names no signer")
		}
		return &NotComparedError{Signers: signerNames(found)}
	case err != nil && strings.Contains(output, "unable to get local issuer certificate"),
		err != nil && strings.Contains(output, "self-signed certificate in certificate chain"):
		return failed(errNoRoot.Error())
	case err != nil:
		return err
	}
	cause := ""
	for _, part := range parts {
		if cause = v.authenticodeProblem(part); cause == "" {
			return nil
		}
	}
	return failed(cause)
}

// authenticodeProblem is what is amiss with one signature; empty where nothing is.
func (v verification) authenticodeProblem(report string) string {
	holds := strings.Count(report, "Signature verification: ok") > strings.Count(report, "Server Signature verification: ok")
	switch {
	case !holds:
		return "no signature verifies"
	case v.TimeStamp && strings.Contains(report, "Timestamp is not available"):
		return "there is no time-stamp"
	case strings.Contains(report, "Timestamp Server Signature verification: failed"):
		return "the time-stamp does not verify; the root of its authority must be in --root, too"
	}
	return ""
}
