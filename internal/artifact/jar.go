package artifact

import (
	"archive/zip"
	"context"
	"crypto/ecdsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

var jarFormat = format{
	kind: Jar, embedded: true,
	match:  isJar,
	sign:   inPlace((*Signer).signJar),
	verify: verification.verifyJar,
}

// isJar wants a manifest or the name of a Java archive: other zip files are not for jarsigner.
func isJar(c *candidate) bool {
	if !c.hasMagic("PK\x03\x04") {
		return false
	}
	if c.hasExtension(".jar", ".war", ".ear") {
		return true
	}
	archive, err := zip.NewReader(c.content, c.size)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(archive.File, func(f *zip.File) bool { return f.Name == "META-INF/MANIFEST.MF" })
}

// signJar lets SunPKCS11 find key and issuers on the token (JDK, "jarsigner").
func (s *Signer) signJar(ctx context.Context, path string) error {
	dir := filepath.Dir(path)
	provider := filepath.Join(dir, ".sunpkcs11")
	text := "name=signkit\nlibrary=" + s.X509.Module + "\nslot=1\n"
	if err := os.WriteFile(provider, []byte(text), 0o600); err != nil {
		return err
	}
	algorithm := strings.ToUpper(s.X509.digest()) + "withRSA"
	if _, ok := s.X509.Chain[0].PublicKey.(*ecdsa.PublicKey); ok {
		algorithm = strings.ToUpper(s.X509.digest()) + "withECDSA"
	}
	args := []string{"-J-Duser.language=en", "-keystore", "NONE", "-storetype", "PKCS11", "-storepass", "CONFIG",
		"-addprovider", "SunPKCS11", "-providerArg", provider, "-sigfile", "SIGNKIT", "-sigalg", algorithm}
	trust, err := s.javaTrust(ctx, dir)
	if err != nil {
		return err
	}
	args = append(trust, args...)
	return s.timeStamped(func(tsa string) error {
		call := args
		if tsa != "" {
			call = append(slices.Clone(args), "-tsa", tsa)
		}
		_, err := run(ctx, s.moduleEnvironment(), "", "jarsigner", append(call, path, s.X509.Key)...)
		return err
	})
}

// javaTrust lets Java trust the CA file in addition to its own roots, where an authority is
// reached by https.
func (s *Signer) javaTrust(ctx context.Context, dir string) ([]string, error) {
	secure := slices.ContainsFunc(s.X509.TSA, func(url string) bool { return strings.HasPrefix(url, "https:") })
	if s.X509.CAFile == "" || !secure {
		return nil, nil
	}
	store := filepath.Join(dir, ".trust.p12")
	common := []string{"-J-Duser.language=en", "-noprompt", "-keystore", store, "-storetype", "PKCS12", "-storepass", storePassword}
	if own, err := javaRoots(); err == nil { // without them only the CA file counts
		copying := append([]string{"-importkeystore", "-srckeystore", own, "-srcstorepass", storePassword,
			"-destkeystore", store, "-deststoretype", "PKCS12", "-deststorepass", storePassword}, common[:2]...)
		_, _ = run(ctx, withoutCredentials(s.Environ), "", "keytool", copying...)
	}
	data, err := os.ReadFile(s.X509.CAFile)
	if err != nil {
		return nil, fmt.Errorf("SIGNKIT_CA_FILE: %w", err)
	}
	for i, block := 0, (*pem.Block)(nil); ; i++ {
		if block, data = pem.Decode(data); block == nil {
			break
		}
		file := filepath.Join(dir, fmt.Sprintf(".ca-%d.pem", i))
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
		call := append([]string{"-importcert", "-alias", fmt.Sprintf("signkit-%d", i), "-file", file}, common...)
		if _, err := run(ctx, withoutCredentials(s.Environ), "", "keytool", call...); err != nil {
			return nil, err
		}
	}
	return []string{"-J-Djavax.net.ssl.trustStore=" + store, "-J-Djavax.net.ssl.trustStorePassword=" + storePassword}, nil
}

// javaRoots is the JDK's own store, beside its programs.
func javaRoots() (string, error) {
	program, err := exec.LookPath("keytool")
	if err != nil {
		return "", err
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		return "", err
	}
	store := filepath.Join(filepath.Dir(filepath.Dir(program)), "lib", "security", "cacerts")
	_, err = os.Stat(store)
	return store, err
}

// timeStamped calls sign with one authority after the other until it succeeds. What failed
// for another reason than the time-stamp is not tried again.
func (s *Signer) timeStamped(sign func(tsa string) error) error {
	if len(s.X509.TSA) == 0 {
		return sign("")
	}
	var failed error
	for _, tsa := range s.X509.TSA {
		err := sign(tsa)
		var tool *ToolError
		if err == nil || !errors.As(err, &tool) || !isTimeStampFailure(tool.Output) {
			return err
		}
		failed = errors.Join(failed, fmt.Errorf("time-stamp of %s: %w", tsa, err))
	}
	return failed
}

// isTimeStampFailure knows the words of jarsigner.
func isTimeStampFailure(output string) bool {
	lower := strings.ToLower(output)
	return strings.Contains(lower, "timestamp") || strings.Contains(lower, "tsa")
}

// Exit bits of `jarsigner -verify -strict` (JDK, "jarsigner", Errors and Warnings).
const (
	jarChain = 4 // the chain leads to no known root, or a certificate has expired
)

// jar lets jarsigner check every entry. Without roots a chain that leads nowhere known is
// accepted, but then the signer must be the one that was named.
func (v verification) verifyJar(ctx context.Context, file, _ string) error {
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
