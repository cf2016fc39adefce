package integration

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	moduleInImage  = "/usr/lib/signkit/libsignkit-pkcs11.so"
	samplesInImage = "/usr/share/signkit/samples"
)

// opensslForm is one way to sign with one key.
type opensslForm struct {
	name string
	key  string
	pss  bool
}

var opensslForms = []opensslForm{
	{"dgst", "demo/rsa-3072", false},
	{"dgst", "demo/p-256", false},
	{"pkeyutl-pss", "demo/rsa-3072", true},
}

// TestOpenSSL signs with samples/openssl/sign.sh, through the engine and the provider, as every kind of user.
func TestOpenSSL(t *testing.T) {
	s := need(t)
	for _, img := range s.images {
		for _, u := range users {
			for _, via := range img.OpenSSL {
				for _, form := range opensslForms {
					scenario := "openssl-" + via + "-" + form.name
					key := strings.TrimPrefix(form.key, "demo/")
					t.Run(img.Name+"/"+u.name+"/"+scenario+"-"+key, func(t *testing.T) {
						s.report.note(t, outcome{Scenario: scenario, Image: img.Name, Key: form.key, User: u.name})
						signAndVerify(t, s, img, u, via, form)
					})
				}
			}
		}
	}
}

func signAndVerify(t *testing.T, s *setup, img image, u user, via string, form opensslForm) {
	dir := workDir(t)
	writeFile(t, dir, "file", "what is to be signed: "+t.Name()+"\n")
	command := []string{samplesInImage + "/openssl/sign.sh", "--via", via}
	if form.pss {
		command = append(command, "--form", "pss")
	}
	s.service.clearRequests(t)
	signed := s.run(t, container{
		image: img.tool(), user: u, network: true, env: s.service.settings(),
		binds: append(s.service.binds(), dir+":/work"), command: append(command, form.key, "file"),
	})
	if signed.code != 0 {
		t.Fatalf("signing ended with %d", signed.code)
	}
	s.service.wantRequests(t, 2)
	verify(t, s, img, dir, form)
}

// verify lets plain openssl judge the signature and four inputs that must be refused.
func verify(t *testing.T, s *setup, img image, dir string, form opensslForm) {
	other := "demo/rsa-2048"
	if strings.Contains(form.key, "p-") {
		other = "demo/p-384"
	}
	writeFile(t, dir, "chain.pem", certificates(t, s, img, form.key))
	writeFile(t, dir, "other.pem", certificates(t, s, img, other))
	copyFile(t, filepath.Join(s.service.state, "signing-root.pem"), dir, "root.pem")
	copyFile(t, filepath.Join(s.service.state, "ca.pem"), dir, "stranger.pem")
	script, err := filepath.Abs(filepath.Join(root, "samples", "openssl", "verify.sh"))
	if err != nil {
		t.Fatal(err)
	}
	pss := ""
	if form.pss {
		pss = "--form pss"
	}
	judged := s.run(t, container{
		image: img.verifier(), env: []string{"PSS=" + pss},
		binds:   []string{dir + ":/work", script + ":/verify.sh:ro"},
		command: []string{"bash", "-c", judge},
	})
	want := "signed 0\nleaf-only 0\nunsigned 1\ntampered 1\nwrong-key 1\nwrong-root 1\n"
	if judged.stdout != want {
		t.Errorf("verification says\n%swant\n%s", judged.stdout, want)
	}
}

// judge prints one line per input: 0 if verify.sh takes it, 1 if not. What openssl says goes to stderr.
const judge = `
verify() { local name=$1; shift; if bash /verify.sh $PSS "$@" >&2; then echo "$name 0"; else echo "$name 1"; fi; }
cp file tampered && echo x >>tampered
: >empty
verify signed --root root.pem chain.pem file file.sig
verify leaf-only chain.pem file file.sig
verify unsigned --root root.pem chain.pem file empty
verify tampered --root root.pem chain.pem tampered file.sig
verify wrong-key --root root.pem other.pem file file.sig
verify wrong-root --root stranger.pem chain.pem file file.sig
`

// certificates fetches a key's certificate and the intermediate ones after it, once per run, as a user would.
func certificates(t *testing.T, s *setup, img image, key string) string {
	t.Helper()
	if pem := s.certificates[img.Name+" "+key]; pem != "" {
		return pem
	}
	got := s.run(t, container{
		image: img.tool(), network: true, env: s.service.settings(), binds: s.service.binds(),
		command: []string{samplesInImage + "/openssl/certificates.sh", key},
	})
	if n := strings.Count(got.stdout, "BEGIN CERTIFICATE"); got.code != 0 || n != 2 {
		t.Fatalf("reading the certificates of %s ended with %d and %d certificates, want 2: leaf and intermediate", key, got.code, n)
	}
	s.certificates[img.Name+" "+key] = got.stdout
	return got.stdout
}

// TestListingsAskNothing: what shows no key costs no request.
func TestListingsAskNothing(t *testing.T) {
	s := need(t)
	commands := map[string][]string{
		"slots":      {"pkcs11-tool", "--module", moduleInImage, "--list-slots"},
		"info":       {"pkcs11-tool", "--module", moduleInImage, "--show-info"},
		"mechanisms": {"pkcs11-tool", "--module", moduleInImage, "--list-mechanisms"},
		"p11-kit":    {"p11-kit", "list-modules"},
	}
	for _, img := range s.images {
		for name, command := range commands {
			t.Run(img.Name+"/root/"+name, func(t *testing.T) {
				s.report.note(t, outcome{Scenario: "list-" + name, Image: img.Name, User: "root"})
				s.service.clearRequests(t)
				got := s.run(t, container{image: img.tool(), network: true, env: s.service.settings(), binds: s.service.binds(), command: command})
				if got.code != 0 || got.stdout == "" {
					t.Errorf("ended with %d", got.code)
				}
				s.service.wantRequests(t, 0)
			})
		}
	}
}

// TestRefusedToken: openssl fails, leaves no signature, and the cause is on stderr without the token.
func TestRefusedToken(t *testing.T) {
	s := need(t)
	const token = "bm90IGEgdG9rZW4gb2YgdGhpcyBzZXJ2aWNl"
	for _, img := range s.images {
		for _, via := range img.OpenSSL {
			t.Run(img.Name+"/root/openssl-"+via, func(t *testing.T) {
				s.report.note(t, outcome{Scenario: "refused-token-" + via, Image: img.Name, Key: "demo/p-256", User: "root"})
				dir := workDir(t)
				writeFile(t, dir, "file", "never signed")
				got := s.run(t, container{
					image: img.tool(), network: true, env: s.service.settings("SIGNPATH_API_TOKEN=" + token),
					binds:   append(s.service.binds(), dir+":/work"),
					command: []string{samplesInImage + "/openssl/sign.sh", "--via", via, "demo/p-256", "file"},
				})
				if got.code == 0 {
					t.Error("signing with a wrong token ended with 0")
				}
				if _, err := os.Stat(filepath.Join(dir, "file.sig")); err == nil {
					t.Error("there is a signature")
				}
				if !strings.Contains(got.stderr, "401") {
					t.Error("stderr does not name the status 401")
				}
				if strings.Contains(got.stdout+got.stderr, token) {
					t.Error("the output shows the token")
				}
			})
		}
	}
}

// TestReadCertificate fetches the signer's certificate by the key's id, as the manual says.
func TestReadCertificate(t *testing.T) {
	s := need(t)
	for _, img := range s.images {
		t.Run(img.Name+"/root/pkcs11-tool", func(t *testing.T) {
			s.report.note(t, outcome{Scenario: "pkcs11-tool-certificate", Image: img.Name, Key: "demo/p-256", User: "root"})
			dir := workDir(t)
			s.service.clearRequests(t)
			got := s.run(t, container{
				image: img.tool(), network: true, env: s.service.settings(), binds: append(s.service.binds(), dir+":/work"),
				command: []string{"pkcs11-tool", "--module", moduleInImage, "--login", "--pin", "CONFIG", "--read-object",
					"--type", "cert", "--id", hex.EncodeToString([]byte("demo/p-256")), "--output-file", "leaf.der"},
			})
			if got.code != 0 {
				t.Fatalf("ended with %d", got.code)
			}
			s.service.wantRequests(t, 1)
			checkLeaf(t, filepath.Join(dir, "leaf.der"), filepath.Join(s.service.state, "signing-root.pem"))
		})
	}
}
