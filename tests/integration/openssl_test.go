package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
)

// TestOpenSSL signs with samples/openssl in every form, through the engine and the provider; dgst also as every kind of user.
func TestOpenSSL(t *testing.T) {
	s := need(t)
	forms := []struct{ form, key string }{
		{"dgst", "demo/rsa-3072"}, {"dgst", "demo/p-256"},
		{"pkeyutl", "demo/rsa-3072"}, {"pkeyutl", "demo/p-256"},
		{"pss", "demo/rsa-3072"},
		{"cms", "demo/rsa-3072"}, {"cms", "demo/p-256"},
	}
	for _, via := range []string{"engine", "provider"} {
		for _, f := range forms {
			var cells []cell
			as := users
			if f.form != "dgst" {
				as = users[:1]
			}
			for _, c := range s.inAll(as, cell{sample: "openssl", form: via + "-" + f.form, key: f.key}) {
				if slices.Contains(c.image.OpenSSL, via) {
					cells = append(cells, c)
				}
			}
			s.each(t, cells, func(w *workplace) { signWithOpenSSL(w, via, f.form) })
		}
	}
}

func signWithOpenSSL(w *workplace, via, form string) {
	w.write("file", "what is to be signed: "+w.Name()+"\n")
	w.certificates("chain.pem", w.key)
	w.service.clearRequests(w.T)
	w.sign("--form", form, "--via", via, "--certificates", "chain.pem", w.key, "file")
	w.service.wantRequests(w.T, 2, 1)

	w.certificates("other.pem", otherKey(w.key))
	w.roots("root.pem", "stranger.pem")
	verify := "bash $verify --form " + form
	w.judge(w.image.plain(), "cp file tampered; echo x >>tampered; : >empty; mv file.sig signature || mv file.p7s signature",
		check{"signed", true, verify + " --root root.pem chain.pem file signature"},
		check{"certificate alone", true, verify + " chain.pem file signature"},
		check{"unsigned", false, verify + " --root root.pem chain.pem file empty"},
		check{"tampered", false, verify + " --root root.pem chain.pem tampered signature"},
		check{"wrong key", false, verify + " --root root.pem other.pem file signature"},
		check{"wrong root", false, verify + " --root stranger.pem chain.pem file signature"},
	)
}

// TestCMSFetchesCertificates: without --certificates, the sample gets them itself.
func TestCMSFetchesCertificates(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "openssl", form: "cms-alone", key: "demo/p-256"}), func(w *workplace) {
		w.write("file", "what is to be signed\n")
		w.sign("--form", "cms", w.key, "file")
		w.certificates("chain.pem", w.key)
		w.roots("root.pem", "stranger.pem")
		w.judge(w.image.plain(), "", check{"signed", true, "bash $verify --form cms --root root.pem chain.pem file"})
	})
}

// TestConfigurationFiles: with the ready OPENSSL_CONF, openssl's own command line names no module and no PIN.
func TestConfigurationFiles(t *testing.T) {
	s := need(t)
	for via, arguments := range map[string]string{"engine": "-engine pkcs11 -keyform engine", "provider": ""} {
		var cells []cell
		for _, c := range s.inAll(users[:1], cell{sample: "openssl", form: "conf-" + via, key: "demo/p-256"}) {
			if slices.Contains(c.image.OpenSSL, via) {
				cells = append(cells, c)
			}
		}
		s.each(t, cells, func(w *workplace) {
			w.more = []string{"OPENSSL_CONF=/etc/signkit/openssl-" + via + ".cnf", "PKCS11_MODULE_PATH=", "PKCS11_PROVIDER_MODULE="}
			w.write("file", "hello\n")
			got := w.tool("bash", "-c", "openssl dgst "+arguments+
				" -sha256 -sign 'pkcs11:object=demo%2Fp-256;type=private' -out file.sig file && test -s file.sig")
			if got.code != 0 {
				w.Errorf("ended with %d", got.code)
			}
			w.service.wantRequests(w.T, 2, 1)
		})
	}
}

// TestVariants signs in the smaller and the larger image of each release, which are the same files as in the others.
func TestVariants(t *testing.T) {
	s := need(t)
	for _, suffix := range []string{"core", "java"} {
		s.each(t, s.inAll(users[1:2], cell{sample: "openssl", form: "in-" + suffix, key: "demo/rsa-3072"}), func(w *workplace) {
			w.write("file", "hello\n")
			got := s.run(w.T, container{
				image: fmt.Sprintf("signkit:%s-%s", w.image.Name, suffix), user: w.user, network: true, env: w.service.settings(),
				binds: append(w.service.binds(), w.dir+":/work"), command: []string{samplesInImage + "/openssl/sign.sh", w.key, "file"},
			})
			if got.code != 0 {
				w.Fatalf("ended with %d", got.code)
			}
			w.certificates("chain.pem", w.key)
			w.copy(filepath.Join(w.service.state, "signing-root.pem"), "root.pem")
			w.judge(w.image.plain(), "", check{"signed", true, "bash $verify --root root.pem chain.pem file"})
		})
	}
}
