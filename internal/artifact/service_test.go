package artifact

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/internal/config"
	"signkit/internal/mockapi"
	"signkit/internal/signpath"
)

// service is a mock signing service, and what tools need to sign with its keys through the module of make build.
type service struct {
	*mockapi.Server
	folder  string // with the module and the programs
	environ []string
}

// policies has keys that are quickly made. One policy's name has a word that tools print when a time-stamp fails; its key is RSA
// because libp11's engine asks twice for an ECDSA signature that is refused, whoever calls it.
const policies = `{"organizations":[{"name":"demo","id":"generate","users":[{"name":"ci","token":"generate","permissions":["certificates"]}],
 "certificates":[{"slug":"rsa-2048","type":"X509","keyType":"Rsa","keySizeInBits":2048},{"slug":"p-256","type":"X509","keyType":"Ecdsa","keySizeInBits":256}],
 "projects":[{"slug":"demo","policies":[{"slug":"rsa-2048","submitters":["ci"]},{"slug":"p-256","submitters":["ci"]},
  {"slug":"timestamp-tsa","certificate":"rsa-2048","submitters":["ci"]}]}]}]}`

func startService(t *testing.T) *service {
	t.Helper()
	folder, err := filepath.Abs("../../build")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libsignkit-pkcs11.so", "signkit-tokend", "signkit"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Skipf("make build has not made build/%s", name)
		}
	}
	file := textFile(t, "service.json", policies)
	cfg, err := mockapi.LoadConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	server, err := mockapi.Start(mockapi.Options{StateDir: t.TempDir(), Config: cfg, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := server.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	module := filepath.Join(folder, "libsignkit-pkcs11.so")
	environ := append(os.Environ(), server.Environment()...)
	environ = append(environ, "PATH="+folder+":"+os.Getenv("PATH"), "PKCS11_PROVIDER_MODULE="+module, "OPENSSL_CONF=/dev/null",
		"SIGNPATH_TIMEOUTS_RETRY_COUNT=0", "SIGNPATH_LOG_CONSOLE_LEVEL=error", "SIGNKIT_TSA_URL=")
	return &service{Server: server, folder: folder, environ: environ}
}

// signer signs with the key of a policy.
func (s *service) signer(t *testing.T, policy string, authorities ...string) *Signer {
	t.Helper()
	cfg, err := config.Load(s.Environment(), "/")
	if err != nil {
		t.Fatal(err)
	}
	client, err := signpath.New(cfg, signpath.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	keys, err := client.Policies(t.Context(), signpath.Filter{ProjectSlug: "demo", SigningPolicySlug: policy})
	if err != nil || len(keys) != 1 {
		t.Fatalf("policy %s: %v, %v", policy, keys, err)
	}
	issuers, err := keys[0].Chain(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stamps, err := NewAuthorities(authorities, s.CAFile())
	if err != nil {
		t.Fatal(err)
	}
	if stamps != nil {
		stamps.pause = time.Millisecond
	}
	return &Signer{Environ: s.environ, X509: &X509{
		Key: "demo/" + policy, Chain: append([]*x509.Certificate{keys[0].Certificate()}, issuers...),
		Module: filepath.Join(s.folder, "libsignkit-pkcs11.so"), Authorities: stamps,
	}}
}

// sample runs the sign.sh of a sample in the folder dir.
func (s *service) sample(t *testing.T, dir, name string, args ...string) (output string, err error) {
	t.Helper()
	script, err := filepath.Abs("../../samples/" + name + "/sign.sh")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, script, args...)
	command.Dir, command.Env, command.WaitDelay = dir, s.environ, 10*time.Second
	data, err := command.CombinedOutput()
	return string(data), err
}

// signatures counts what the service was asked to sign since the last call.
func (s *service) signatures() int {
	count := 0
	for _, request := range s.Requests() {
		if request.Method == http.MethodPost && strings.Contains(request.Path, "SigningRequests") {
			count++
		}
	}
	s.ClearRequests()
	return count
}

func (s *service) fail(t *testing.T, faults ...mockapi.Fault) {
	t.Helper()
	if err := s.SetFaults(faults); err != nil {
		t.Fatal(err)
	}
}

// plainOpenSSL runs openssl as somebody who has nothing of signkit.
func plainOpenSSL(t *testing.T, dir string, args ...string) error {
	t.Helper()
	command := exec.CommandContext(t.Context(), "openssl", args...)
	command.Dir, command.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "OPENSSL_CONF=/dev/null"}
	output, err := command.CombinedOutput()
	t.Logf("openssl %s: %v\n%s", strings.Join(args, " "), err, output)
	return err
}

// TestCMSIsVerifiedByPlainOpenSSL signs by the recipe here and by that of the sample.
func TestCMSIsVerifiedByPlainOpenSSL(t *testing.T) {
	need(t, "openssl")
	s := startService(t)
	for _, policy := range []string{"rsa-2048", "p-256"} {
		signer := s.signer(t, policy)
		recipes := map[string]func(t *testing.T, dir string){
			"signkit": func(t *testing.T, dir string) {
				outputs, err := signer.Sign(t.Context(), CMS, filepath.Join(dir, "file"), t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				if err := copyFile(deadline(t), outputs[0].Path, filepath.Join(dir, "file.p7s")); err != nil {
					t.Fatal(err)
				}
			},
			"sample": func(t *testing.T, dir string) {
				write(t, filepath.Join(dir, "chain.pem"), string(encodePEM(signer.X509.Chain)))
				if output, err := s.sample(t, dir, "openssl", "--form", "cms", "--certificates", "chain.pem", "demo/"+policy, "file"); err != nil {
					t.Fatalf("%v\n%s", err, output)
				}
			},
		}
		for recipe, sign := range recipes {
			t.Run(policy+" "+recipe, func(t *testing.T) {
				dir := t.TempDir()
				write(t, filepath.Join(dir, "file"), "content\n")
				s.signatures()
				sign(t, dir)
				if n := s.signatures(); n != 1 {
					t.Errorf("%d signing requests", n)
				}
				verify := func(content, root string) error {
					return plainOpenSSL(t, dir, "cms", "-verify", "-binary", "-inform", "DER", "-in", "file.p7s", "-content", content,
						"-CAfile", root, "-no-CApath", "-purpose", "any", "-out", "/dev/null")
				}
				if err := verify("file", s.RootFile()); err != nil {
					t.Error("plain openssl does not verify it")
				}
				write(t, filepath.Join(dir, "tampered"), "Content\n")
				if err := verify("tampered", s.RootFile()); err == nil {
					t.Error("a tampered file verifies")
				}
				if err := verify("file", s.CAFile()); err == nil {
					t.Error("it verifies under another root")
				}
				verifier := &Verifier{Roots: s.RootFile(), Chain: signer.X509.Chain, Environ: os.Environ()}
				if err := verifier.Verify(t.Context(), CMS, filepath.Join(dir, "file"), dir); err != nil {
					t.Errorf("Verify = %v", err)
				}
			})
		}
	}
}

// unsigned writes a file of each kind that takes a time-stamp.
var unsigned = map[Kind]func(t *testing.T, dir string) (file string){
	Jar: func(t *testing.T, dir string) string {
		var b bytes.Buffer
		archive := zip.NewWriter(&b)
		entry, err := archive.Create("META-INF/MANIFEST.MF")
		if err == nil {
			_, err = entry.Write([]byte("Manifest-Version: 1.0\r\n\r\n"))
		}
		if err == nil {
			err = archive.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "app.jar"), b.String())
		return "app.jar"
	},
	Authenticode: func(t *testing.T, dir string) string {
		write(t, filepath.Join(dir, "app.exe"), string(smallProgram()))
		return "app.exe"
	},
}

// smallProgram is a PE file for x86-64 with one section and an entry point that returns.
func smallProgram() []byte {
	program := make([]byte, 1024)
	copy(program, "MZ")
	binary.LittleEndian.PutUint32(program[0x3c:], 0x80)
	copy(program[0x80:], "PE\x00\x00")
	fields := []struct{ offset, size, value int }{
		{0x84, 2, 0x8664}, {0x86, 2, 1}, {0x94, 2, 240}, {0x96, 2, 0x22}, // machine, sections, optional header's size, characteristics
		{0x98, 2, 0x20b}, {0x98 + 4, 4, 512}, {0x98 + 16, 4, 0x1000}, {0x98 + 20, 4, 0x1000}, // PE32+, code's size, entry, base of code
		{0x98 + 24, 8, 0x140000000}, {0x98 + 32, 4, 0x1000}, {0x98 + 36, 4, 512}, // image base, alignments
		{0x98 + 40, 2, 6}, {0x98 + 48, 2, 6}, {0x98 + 56, 4, 0x2000}, {0x98 + 60, 4, 512}, {0x98 + 68, 2, 3}, // versions, image's and headers' size, console
		{0x98 + 108, 4, 16},                                                                    // data directories
		{0x188 + 8, 4, 1}, {0x188 + 12, 4, 0x1000}, {0x188 + 16, 4, 512}, {0x188 + 20, 4, 512}, // the section
		{0x188 + 36, 4, 0x60000020},
	}
	for _, f := range fields {
		var value [8]byte
		binary.LittleEndian.PutUint64(value[:], uint64(f.value))
		copy(program[f.offset:f.offset+f.size], value[:])
	}
	copy(program[0x188:], ".text")
	program[512] = 0xc3
	return program
}
