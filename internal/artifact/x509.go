package artifact

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// environment of tools that load the module: libp11 reads the first variable, pkcs11-provider
// the second.
func (s *Signer) moduleEnvironment() []string {
	return append(slices.Clone(s.Environ),
		"PKCS11_MODULE_PATH="+s.X509.Module, "PKCS11_PROVIDER_MODULE="+s.X509.Module, "LC_ALL=C.UTF-8")
}

// uri names the key (RFC 7512). The PIN says that the credentials are in the environment; it
// stands in the path part, where libp11 wants it and pkcs11-provider takes it as well.
func (x *X509) uri() string {
	return "pkcs11:object=" + strings.ReplaceAll(x.Key, "/", "%2F") + ";type=private;pin-value=CONFIG"
}

// digest is the hash whose size fits the key, as Java and openssl name it in lower case.
func (x *X509) digest() string {
	key, ok := x.Chain[0].PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || key.Curve.Params().BitSize <= 256:
		return "sha256"
	case key.Curve.Params().BitSize <= 384:
		return "sha384"
	}
	return "sha512"
}

// signJar lets SunPKCS11 find key and issuers on the token (JDK, "jarsigner").
func (s *Signer) signJar(ctx context.Context, path, dir string) error {
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
		_, _ = run(ctx, s.Environ, "", "keytool", copying...)
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
		if _, err := run(ctx, s.Environ, "", "keytool", call...); err != nil {
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
	trust, err := s.osslsigncodeTrust(ctx, dir)
	if err != nil {
		return nil, err
	}
	args = append(args, trust...)
	for _, tsa := range s.X509.TSA {
		args = append(args, "-ts", tsa) // it tries them in their order
	}
	if _, err := run(ctx, s.moduleEnvironment(), "", "osslsigncode", append(args, "-in", file, "-out", path)...); err != nil {
		return nil, err
	}
	return []Output{{path, name}}, keepMode(file, path)
}

// osslsigncodeTrust lets it trust the CA file in addition to the system's roots. Before 2.9 no
// CA can be named; a time-stamp is signed itself, and the result is verified.
func (s *Signer) osslsigncodeTrust(ctx context.Context, dir string) ([]string, error) {
	if s.X509.CAFile == "" || len(s.X509.TSA) == 0 {
		return nil, nil
	}
	if !offers(ctx, s.Environ, "sign", "-HTTPS-CAfile") {
		return []string{"-noverifypeer"}, nil
	}
	data, err := os.ReadFile(s.X509.CAFile)
	if err != nil {
		return nil, fmt.Errorf("SIGNKIT_CA_FILE: %w", err)
	}
	file := filepath.Join(dir, ".tls.pem")
	return []string{"-HTTPS-CAfile", file}, os.WriteFile(file, append(append(data, '\n'), readSystemRoots()...), 0o600)
}

// offers reports whether the help of an osslsigncode command names a flag.
func offers(ctx context.Context, environ []string, command, flag string) bool {
	help, _ := run(ctx, environ, "", "osslsigncode", command, "--help")
	return strings.Contains(help, flag)
}

func keepMode(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	return os.Chmod(to, info.Mode().Perm())
}

// osslsigncodeHasProviders: from 2.10 on -pkcs11module sets a variable that only libp11 reads,
// and where a provider is found it would use another module, silently.
func (s *Signer) osslsigncodeHasProviders(ctx context.Context) (bool, error) {
	output, err := run(ctx, s.Environ, "", "osslsigncode", "--version")
	if words := strings.Fields(strings.ReplaceAll(output, ",", " ")); len(words) > 1 && words[0] == "osslsigncode" {
		major, minor, _ := strings.Cut(words[1], ".")
		a, _ := strconv.Atoi(major)
		b, _ := strconv.Atoi(strings.FieldsFunc(minor+".0", func(r rune) bool { return r < '0' || r > '9' })[0])
		return (a > 2 || a == 2 && b >= 10) && s.opensslProvider(ctx), nil
	}
	return false, err
}

// opensslProvider reports whether openssl finds pkcs11-provider.
func (s *Signer) opensslProvider(ctx context.Context) bool {
	_, err := run(ctx, s.moduleEnvironment(), "", "openssl", "list", "-provider", "pkcs11", "-providers")
	return err == nil
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

// writeChain writes leaf and issuers as PEM.
func (s *Signer) writeChain(dir string) (string, error) {
	path := filepath.Join(dir, ".certificates.pem")
	return path, os.WriteFile(path, encodePEM(s.X509.Chain), 0o600)
}

func encodePEM(chain []*x509.Certificate) []byte {
	var data []byte
	for _, certificate := range chain {
		data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	return data
}
