package artifact

import (
	"archive/zip"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/smallstep/pkcs7"
	"software.sslmate.com/src/go-pkcs12"
)

var jarFormat = format{
	kind: Jar, embedded: true,
	facts: Facts{
		Files: "Java archives (jar, war, ear), Android bundles (aab)", Tool: "jarsigner", Judge: "jarsigner",
		Versions:  "JDK 11 or later",
		Keys:      "RSA, ECDSA",
		Several:   "kept, and ours is added",
		TimeStamp: "RFC 3161",
		Limits:    "Java reads manifests and signature files up to 16 MB (8 MB in 11.0.20, 17.0.8 and 21.0.0)",
	},
	match: isJar,
	sign:  inPlace((*Signer).signJar),
	existing: func(_ verification, _ context.Context, file string) ([]signer, error) {
		signatures, err := readJarSignatures(file)
		if err != nil {
			return nil, err
		}
		return signatures.signers(), nil
	},
	single: holdsSeveral,
	verify: verification.verifyJar,
}

// isJar wants a manifest or the name of a Java archive: other zip files are not for jarsigner.
// Android's bundles are, unlike its packages (developer.android.com, "Sign your app").
func isJar(c *candidate) bool {
	return c.hasMagic("PK\x03\x04") &&
		(c.hasExtension(".jar", ".war", ".ear", ".aab") || c.hasEntry("META-INF/MANIFEST.MF") || c.hasEntry("BundleConfig.pb"))
}

// signJar lets SunPKCS11 find key and issuers on the token (JDK, "jarsigner").
func (s *Signer) signJar(ctx context.Context, path string) error {
	if _, err := readJarSignatures(path); err != nil { // before a signature is asked for
		return err
	}
	dir := filepath.Dir(path)
	if s.Replace {
		if err := removeJarSignatures(path); err != nil {
			return fmt.Errorf("taking the signatures away: %w", err)
		}
	}
	signatures, err := readJarSignatures(path)
	if err != nil {
		return err
	}
	name, err := signatures.freeName(s.X509.Chain[0])
	if err != nil {
		return err
	}
	provider := filepath.Join(dir, ".sunpkcs11")
	text := "name=signkit\nlibrary=" + s.X509.Module + "\nslot=1\n"
	if err := os.WriteFile(provider, []byte(text), 0o600); err != nil {
		return err
	}
	algorithm := strings.ToUpper(s.X509.digest()) + "withRSA"
	if _, ok := s.X509.Chain[0].PublicKey.(*ecdsa.PublicKey); ok {
		algorithm = strings.ToUpper(s.X509.digest()) + "withECDSA"
	}
	args := append(javaOptions(path), "-keystore", "NONE", "-storetype", "PKCS11", "-storepass", "CONFIG",
		"-addprovider", "SunPKCS11", "-providerArg", provider, "-sigfile", name, "-sigalg", algorithm)
	return s.stamped(ctx, func(environ []string, authority string) error {
		if authority != "" {
			args = append(args, "-tsa", authority)
		}
		_, err := run(ctx, environ, "", "jarsigner", append(args, path, s.X509.Key)...)
		return err
	})
}

// javaOptions make jarsigner speak English, which is read, and leave out the compiler that pays for programs that run for long: a
// small archive takes half of the processor time. For a large one its faster digests make up for that.
func javaOptions(file string) []string {
	options := []string{"-J-Duser.language=en"}
	if info, err := os.Stat(file); err == nil && info.Size() < largeArchive {
		options = append(options, "-J-XX:+IgnoreUnrecognizedVMOptions", "-J-XX:TieredStopAtLevel=1", "-J-XX:+UseSerialGC")
	}
	return options
}

// largeArchive is the size at which both ways take the same time (JDK 17, amd64).
const largeArchive = 64 << 20

// jarNotByAlias is set, too, where no name was given and the store holds no signer.
const jarNotByAlias = 32

// jarProblems are the bits of the exit status of `jarsigner -verify -strict` (JDK, "jarsigner",
// Errors and Warnings), those that say most first.
var jarProblems = []struct {
	bit  int
	text string
}{
	{16, "it has entries that nobody signed"},
	{jarNotByAlias, "it has entries that the named signer did not sign"},
	{2, "the signer's certificate has expired or is not valid yet, or an algorithm is no longer allowed"},
	{4, "a certificate is not valid: ended, or without a chain to a trusted root"},
	{8, "the signer's certificate is not for signing code"},
	{64, "the time-stamp authority's certificate leads to no trusted root; add that root to --root"},
}

// verifyJar lets jarsigner check every entry, and that a signer who was named has signed it. Two
// things it is not asked: whether a signer is one who was named, since it trusts the JDK's own list,
// too; and who made a signature, since a name that it is given may be any certificate of the
// signer's path, as the signer has put it together.
func (v verification) verifyJar(ctx context.Context, file, _ string) error {
	signatures, err := readJarSignatures(file)
	if err != nil {
		return err
	}
	if len(signatures.blocks) == 0 {
		return ErrUnsigned
	}
	var blocks []*pkcs7.PKCS7
	var others []*x509.Certificate // who do not count, and whose unknown roots do no harm
	for _, block := range signatures.blocks {
		blocks = append(blocks, block)
		others = append(others, signersOf(block, nil)...)
	}
	accepted, err := v.acceptedSigners(blocks)
	if err != nil {
		return err
	}
	if err := v.unrevoked(ctx, accepted, blocks); err != nil {
		return err
	}
	if err := v.jarsigner(ctx, file, accepted, others); err != nil {
		return err
	}
	now := time.Now()
	for _, signer := range accepted {
		if now.Before(signer.NotBefore) || now.After(signer.NotAfter) {
			// It does not look at the validity of a certificate that it is told to trust. So it is not told
			// again: a time-stamp must say that the certificate was valid.
			if err := v.jarsigner(ctx, file, nil, nil); err != nil {
				return err
			}
			break
		}
	}
	return signatures.signedBy(accepted)
}

// jarsigner verifies with the given signers' certificates, of whom the accepted ones must have
// signed every entry, and with the named roots.
func (v verification) jarsigner(ctx context.Context, file string, accepted, others []*x509.Certificate) error {
	store, aliases, err := v.trustStore(accepted, others)
	if err != nil {
		return err
	}
	args := append(javaOptions(file), "-verify", "-strict", "-keystore", store, "-storetype", "PKCS12", "-storepass", storePassword, file)
	output, err := run(ctx, v.environment(), "", "jarsigner", append(args, aliases...)...)
	failed := func(cause string) error {
		return &ToolError{Tool: "jarsigner", Cause: cause, Output: output, err: errors.Join(err, errNotVerified)}
	}
	if exit, ended := errors.AsType[*exec.ExitError](err); ended {
		for _, problem := range jarProblems {
			if len(accepted) == 0 && problem.bit == jarNotByAlias || exit.ExitCode() == 1 {
				continue
			}
			if exit.ExitCode()&problem.bit != 0 {
				return failed(problem.text)
			}
		}
	}
	switch {
	case err != nil:
		return err
	case !strings.Contains(output, "jar verified"):
		return failed(lastLine(output, errors.New("did not verify it")))
	case v.TimeStamp && strings.Contains(output, "not include a timestamp"):
		return errors.New("there is no time-stamp")
	}
	return nil
}

const storePassword = "changeit" // of a file with public certificates

// trustStore writes the accepted signers, the others and the named roots for Java, and returns
// the names of the accepted ones in it.
func (v verification) trustStore(signers, others []*x509.Certificate) (file string, aliases []string, err error) {
	var entries []pkcs12.TrustStoreEntry
	for i, signer := range signers {
		aliases = append(aliases, fmt.Sprintf("signer-%d", i))
		entries = append(entries, pkcs12.TrustStoreEntry{Cert: signer, FriendlyName: aliases[i]})
	}
	roots, err := v.namedRoots()
	if err != nil {
		return "", nil, err
	}
	for _, certificate := range v.Chain {
		if isSelfIssued(certificate) {
			roots = append(roots, certificate)
		}
	}
	for i, other := range slices.Concat(roots, others) {
		if !slices.ContainsFunc(entries, func(e pkcs12.TrustStoreEntry) bool { return e.Cert.Equal(other) }) {
			entries = append(entries, pkcs12.TrustStoreEntry{Cert: other, FriendlyName: fmt.Sprintf("other-%d", i)})
		}
	}
	data, err := pkcs12.Modern.EncodeTrustStoreEntries(entries, storePassword)
	if err != nil {
		return "", nil, fmt.Errorf("writing a trust store for Java: %w", err)
	}
	file = v.path("trusted.p12")
	return file, aliases, os.WriteFile(file, data, 0o600)
}

// jarSignatures are the signature-related files of an archive (JAR file specification, "Signed JAR
// File").
type jarSignatures struct {
	manifest []byte
	files    map[string][]byte       // the .SF files, by their names in upper case without the ending
	blocks   map[string]*pkcs7.PKCS7 // the signature block files, likewise
}

// maxSignatureFile is more than a manifest of a million entries has.
const maxSignatureFile = 256 << 20

// readJarSignatures refuses an entry that is there twice, also where only the case of letters
// below META-INF differs: readers differ in which they take.
func readJarSignatures(file string) (*jarSignatures, error) {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	found := &jarSignatures{files: map[string][]byte{}, blocks: map[string]*pkcs7.PKCS7{}}
	if err := checkZipFile(file, &archive.Reader); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, entry := range archive.File {
		name, upper := entry.Name, strings.ToUpper(entry.Name)
		if strings.HasPrefix(upper, "META-INF/") {
			name = upper
		}
		if seen[name] {
			return nil, fmt.Errorf("the archive has the entry %s twice", strconv.QuoteToASCII(entry.Name))
		}
		seen[name] = true
		if strings.HasPrefix(upper, "META-INF/SIG-") {
			return nil, fmt.Errorf("the archive has the entry %s, which jarsigner does not look at", strconv.QuoteToASCII(entry.Name))
		}
		if path.Dir(upper) == "META-INF" {
			if err := found.add(entry, upper); err != nil {
				return nil, fmt.Errorf("reading %s: %w", strconv.QuoteToASCII(entry.Name), err)
			}
		}
	}
	// Nobody signs a signature file but the block beside it.
	for base := range found.files {
		if found.blocks[base] == nil {
			return nil, fmt.Errorf("the archive has the signature file %s.SF without a signature", strconv.QuoteToASCII(base))
		}
	}
	for base := range found.blocks {
		if found.files[base] == nil {
			return nil, fmt.Errorf("the archive has a signature of %s.SF, which is not there", strconv.QuoteToASCII(base))
		}
	}
	return found, nil
}

func checkZipFile(path string, archive *zip.Reader) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return checkZip(file, info.Size(), archive)
}

func (j *jarSignatures) add(entry *zip.File, upper string) error {
	ending := path.Ext(upper)
	base := strings.TrimSuffix(upper, ending)
	block := slices.Contains([]string{".RSA", ".EC", ".DSA"}, ending)
	if upper != "META-INF/MANIFEST.MF" && ending != ".SF" && !block {
		return nil
	}
	content, err := entry.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	data, err := io.ReadAll(io.LimitReader(content, maxSignatureFile+1))
	if err == nil && len(data) > maxSignatureFile {
		err = fmt.Errorf("it is larger than %d bytes", maxSignatureFile)
	}
	switch {
	case err != nil:
		return err
	case block && j.blocks[base] != nil:
		return errors.New("there are two signature block files for one signature file")
	case block:
		j.blocks[base], err = pkcs7.Parse(data)
	case ending == ".SF":
		j.files[base] = data
	default:
		j.manifest = data
	}
	return err
}

// signers are those who claim to have made the signatures.
func (j *jarSignatures) signers() []signer {
	var found []signer
	for _, base := range slices.Sorted(maps.Keys(j.blocks)) {
		found = append(found, certificateSigners(j.blocks[base])...)
	}
	return found
}

// freeName is what to call the signature of a certificate's owner: as the one that is there, or as
// nobody else's, which jarsigner would overwrite.
func (j *jarSignatures) freeName(owner *x509.Certificate) (string, error) {
	for _, name := range []string{"SIGNKIT", "SIGNKIT2", "SIGNKIT3", "SIGNKIT4", "SIGNKIT5", "SIGNKIT6", "SIGNKIT7", "SIGNKIT8", "SIGNKIT9"} {
		base := "META-INF/" + name
		block := j.blocks[base]
		if block == nil && j.files[base] == nil {
			return name, nil
		}
		if block != nil && slices.ContainsFunc(signersOf(block, nil), owner.Equal) {
			return name, nil
		}
	}
	return "", errors.New("the archive has nine signatures of other keys that are called SIGNKIT; --existing replace takes them away")
}

// removeJarSignatures takes every signature out of an archive. The entries stay as they are, compressed
// or not, and the manifest, too: its digests are of the entries.
func removeJarSignatures(file string) error {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer archive.Close()
	path := filepath.Join(filepath.Dir(file), ".unsigned")
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	w := zip.NewWriter(out)
	for _, entry := range archive.File {
		if isJarSignature(entry.Name) {
			continue
		}
		if err := copyEntry(w, entry); err != nil {
			return err
		}
	}
	if err := errors.Join(w.SetComment(archive.Comment), w.Close(), out.Close()); err != nil {
		return err
	}
	return os.Rename(path, file)
}

// copyEntry copies an entry as it is. jarsigner compresses its folder META-INF/, which are two bytes of nothing; package zip writes
// no content of a folder.
func copyEntry(w *zip.Writer, entry *zip.File) error {
	if !strings.HasSuffix(entry.Name, "/") || entry.UncompressedSize64 > 0 {
		return w.Copy(entry)
	}
	header := entry.FileHeader
	_, err := w.CreateHeader(&header)
	return err
}

// isJarSignature knows what the JAR file specification calls signature-related files, but for the manifest.
func isJarSignature(name string) bool {
	upper := strings.ToUpper(name)
	return path.Dir(upper) == "META-INF" &&
		(slices.Contains([]string{".SF", ".RSA", ".EC", ".DSA"}, path.Ext(upper)) || strings.HasPrefix(path.Base(upper), "SIG-"))
}

// signedBy checks that one of the signers has signed the manifest as a whole, and so every entry
// that it lists: the block is a signature of its .SF file, and that has the manifest's digest. What
// the manifest does not list, and what differs from its list, jarsigner refuses.
func (j *jarSignatures) signedBy(signers []*x509.Certificate) error {
	failed := errors.New("the named signer has signed nothing in it")
	for base, block := range j.blocks {
		made := signersOf(block, signers)
		if len(block.Signers) != 1 || len(made) != 1 || !slices.ContainsFunc(signers, made[0].Equal) {
			continue
		}
		if made[0].PublicKeyAlgorithm == x509.DSA {
			failed = fmt.Errorf("%s is signed with a DSA key: such signatures are not verified", strconv.QuoteToASCII(base))
			continue
		}
		// The certificates of the block are whoever's; the signature must be this one's.
		checked := *block
		checked.Certificates, checked.Content = made, j.files[base]
		if err := checked.Verify(); err != nil {
			failed = fmt.Errorf("the signature of %s does not verify: %w", strconv.QuoteToASCII(base), err)
			continue
		}
		if !hasDigestOf(j.files[base], j.manifest) {
			failed = errors.New("the named signer has not signed the manifest as it is now")
			continue
		}
		return nil
	}
	return failed
}

// manifestDigests are the digests that count, by the names that they have in an .SF file.
var manifestDigests = map[string]crypto.Hash{
	"SHA-256-DIGEST-MANIFEST": crypto.SHA256, "SHA-384-DIGEST-MANIFEST": crypto.SHA384, "SHA-512-DIGEST-MANIFEST": crypto.SHA512,
}

// hasDigestOf reports whether the main section of an .SF file has digests of the manifest, and
// no other ones of that name.
func hasDigestOf(signatureFile, manifest []byte) bool {
	found := false
	text := strings.ReplaceAll(strings.ReplaceAll(string(signatureFile), "\r\n", "\n"), "\r", "\n")
	main, _, _ := strings.Cut(text, "\n\n")
	for line := range strings.SplitSeq(strings.ReplaceAll(main, "\n ", ""), "\n") { // a blank continues a line
		name, value, _ := strings.Cut(line, ":")
		hash, ok := manifestDigests[strings.ToUpper(name)]
		if !ok {
			continue
		}
		digest := hash.New()
		digest.Write(manifest)
		if strings.TrimSpace(value) != base64.StdEncoding.EncodeToString(digest.Sum(nil)) {
			return false
		}
		found = true
	}
	return found
}
