package integration

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

// TestPKCS11Tool signs with samples/pkcs11-tool. The sample reads the public key before it signs.
func TestPKCS11Tool(t *testing.T) {
	s := need(t)
	for _, f := range []struct {
		form, key, flag string
		users           []user
	}{
		{"pkcs1", "demo/rsa-3072", "", users},
		{"pss", "demo/rsa-3072", "--pss", users[:1]},
		{"ecdsa", "demo/p-256", "", users},
	} {
		s.each(t, s.inAll(f.users, cell{sample: "pkcs11-tool", form: f.form, key: f.key}), func(w *workplace) {
			// The sample must know by itself what old releases of the tool need.
			w.more = []string{"SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS="}
			w.write("file", "what is to be signed: "+w.Name()+"\n")
			w.sign(append(strings.Fields(f.flag), w.key, "file")...)
			w.service.wantRequests(w.T, 3, 2)

			w.certificates("chain.pem", w.key)
			w.certificates("other.pem", otherKey(w.key))
			w.roots("root.pem", "stranger.pem")
			verify := "bash $verify " + f.flag
			w.judge(w.image.plain(), "cp file tampered; echo x >>tampered; : >empty",
				check{"signed", true, verify + " --root root.pem chain.pem file"},
				check{"unsigned", false, verify + " --root root.pem chain.pem file empty"},
				check{"tampered", false, verify + " --root root.pem chain.pem tampered file.sig"},
				check{"wrong key", false, verify + " --root root.pem other.pem file"},
				check{"wrong root", false, verify + " --root stranger.pem chain.pem file"},
			)
		})
	}
}

// TestPKCS11ToolLists: the list has every key of the user once.
func TestPKCS11ToolLists(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:2], cell{sample: "pkcs11-tool", form: "list"}), func(w *workplace) {
		got := w.script("list.sh")
		if got.code != 0 {
			w.Fatalf("ended with %d", got.code)
		}
		for _, line := range []string{"demo/rsa-3072 RSA 64656d6f2f7273612d33303732", "demo/p-256 EC 64656d6f2f702d323536"} {
			if strings.Count("\n"+got.stdout, "\n"+line+"\n") != 1 {
				w.Errorf("the list must have %q once:\n%s", line, got.stdout)
			}
		}
		w.service.wantRequests(w.T, 1, 1)
	})
}

// TestReadCertificate fetches the signer's certificate by the key's id.
func TestReadCertificate(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:2], cell{sample: "pkcs11-tool", form: "certificate", key: "demo/p-256"}), func(w *workplace) {
		got := w.script("certificate.sh", w.key)
		if got.code != 0 {
			w.Fatalf("ended with %d", got.code)
		}
		w.service.wantRequests(w.T, 1, 1)
		block, _ := pem.Decode([]byte(got.stdout))
		if block == nil {
			w.Fatal("no PEM on stdout")
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			w.Fatal(err)
		}
		if leaf.IsCA || !strings.Contains(leaf.Subject.CommonName, "p-256") {
			w.Errorf("%s is not the end-entity certificate of the key", leaf.Subject)
		}
	})
}

// TestListingsAskNothing: what shows no key costs no request.
func TestListingsAskNothing(t *testing.T) {
	s := need(t)
	for name, command := range map[string][]string{
		"slots":      {"pkcs11-tool", "--module", moduleInImage, "--list-slots"},
		"info":       {"pkcs11-tool", "--module", moduleInImage, "--show-info"},
		"mechanisms": {"pkcs11-tool", "--module", moduleInImage, "--list-mechanisms"},
		"p11-kit":    {"p11-kit", "list-modules"},
	} {
		s.each(t, s.inAll(users[:1], cell{sample: "pkcs11-tool", form: name}), func(w *workplace) {
			if got := w.tool(command...); got.code != 0 || got.stdout == "" {
				w.Errorf("ended with %d", got.code)
			}
			w.service.wantRequests(w.T, 0, 0)
		})
	}
}

func TestPKCS11ToolFailures(t *testing.T) {
	s := need(t)
	s.fails(t, "pkcs11-tool", "--pin CONFIG", func(w *workplace) (arguments func(key string) []string, kept func()) {
		w.write("file", "never signed\n")
		return func(key string) []string { return []string{key, "file"} }, func() {
			w.missing("file.sig")
			w.missing("file.sig.part")
		}
	})
}
