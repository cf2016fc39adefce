package integration

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"signkit/images"
)

// TestOpenSSL signs with samples/openssl in every form, through the engine and the provider; dgst also as every kind of user.
func TestOpenSSL(t *testing.T) {
	s := need(t)
	forms := []struct{ form, key string }{
		{"dgst", "demo/rsa-3072"}, {"dgst", "demo/p-256"},
		{"pkeyutl", "demo/rsa-3072"}, {"pkeyutl", "demo/p-256"},
		{"pss", "demo/rsa-3072"},
		{"cms", "demo/rsa-3072"}, {"cms", "demo/p-256"},
		{"cms-pem", "demo/rsa-3072"}, {"cms-pem", "demo/p-256"},
		{"cms-embedded", "demo/rsa-3072"}, {"cms-embedded", "demo/p-256"},
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
	w.judge(w.image.plain(), "cp file tampered; echo x >>tampered; : >empty; mv file.[sp]* signature",
		check{"signed", true, verify + " --root root.pem chain.pem file signature"},
		check{"certificate alone", true, verify + " chain.pem file signature"},
		check{"unsigned", false, verify + " --root root.pem chain.pem file empty"},
		check{"tampered", false, verify + " --root root.pem chain.pem tampered signature"},
		check{"wrong key", false, verify + " --root root.pem other.pem file signature"},
		check{"wrong root", false, verify + " --root stranger.pem chain.pem file signature"},
	)
}

// TestOpenSSLTimestamps: the signature gets a time-stamp of the first authority that gives one, and verify.sh wants it.
func TestOpenSSLTimestamps(t *testing.T) {
	s := need(t)
	cells := s.inAll(users[:2], cell{sample: "openssl", form: "timestamp", key: "demo/rsa-3072"},
		cell{sample: "openssl", form: "timestamp", key: "demo/p-256"})
	s.each(t, cells, func(w *workplace) {
		w.write("file", "what is to be signed\n")
		w.write("bare", "has no time-stamp\n")
		good := "https://" + w.service.relay.address + "/tsa"
		w.service.fail(w.T, fault{Route: "tsa", Kind: "status", Status: 503}, fault{Route: "tsa", Kind: "html"})
		got := s.run(w.T, container{
			image: "signkit:" + w.image.Tag(images.Full), user: w.user, network: true, env: w.service.settings(),
			binds: w.service.binds(), dir: w.dir,
			command: []string{"bash", "-euc", `sign=/usr/share/signkit/samples/openssl/sign.sh
$sign --tsa http://127.0.0.1:1/ --tsa "$2" --tsa "$2" --tsa "$2" "$1" file
$sign "$1" bare
if $sign --tsa http://127.0.0.1:1/ "$1" bare bare.none; then exit 9; fi
if SIGNKIT_TSA_URL= $sign --timestamp "$1" bare bare.none; then exit 9; fi`, "bash", w.key, good},
		})
		if got.code != 0 {
			w.Fatalf("ended with %d", got.code)
		}
		w.missing("bare.none")
		w.missing("bare.none.tsr")
		w.certificates("chain.pem", w.key)
		w.roots("root.pem", "stranger.pem")
		verify := "bash $verify --root root.pem --tsa-root root.pem "
		w.judge(w.image.plain(), "cp file.sig other.sig; cp file other; cp file tampered; echo x >>tampered; cp bare.sig wrong.sig; cp bare wrong; cp file.sig.tsr wrong.sig.tsr",
			check{"signed", true, verify + "chain.pem file"},
			check{"tampered", false, verify + "chain.pem tampered file.sig"},
			check{"no time-stamp", false, verify + "chain.pem bare"},
			check{"no time-stamp wanted", true, "bash $verify --root root.pem chain.pem bare"},
			check{"time-stamp of another signature", false, verify + "chain.pem wrong"},
			check{"wrong root of the time-stamp", false, "bash $verify --root root.pem --tsa-root stranger.pem chain.pem file"},
			check{"time-stamp of 10 years", true, verify + "chain.pem file 2>&1 | awk '/about 10 years/ { found = 1 } END { exit found }'"},
			check{"time-stamp that lives too short", true, verify + "--tsa-years 11 chain.pem file 2>&1 | grep 'about 10 years'"},
		)
	})
}

// TestCertificateRequests: a request and a certificate of its own, signed with the key, through the engine and the provider.
func TestCertificateRequests(t *testing.T) {
	s := need(t)
	for _, via := range []string{"engine", "provider"} {
		for _, key := range []string{"demo/rsa-3072", "demo/p-256"} {
			cells := slices.DeleteFunc(s.inAll(users[:1], cell{sample: "openssl", form: via + "-request", key: key}),
				func(c cell) bool { return !slices.Contains(c.image.OpenSSL, via) })
			s.each(t, cells, func(w *workplace) {
				const subject = "/C=AT/O=Example/CN=Example release"
				for name, more := range map[string][]string{"request.pem": nil, "self.pem": {"--self-signed", "30"}} {
					arguments := append([]string{"--via", via}, more...)
					if got := w.script("request.sh", append(arguments, w.key, subject, name)...); got.code != 0 {
						w.Fatalf("%s: request.sh ended with %d", name, got.code)
					}
				}
				if got := w.script("request.sh", "--via", via, "demo/none", subject, "none.pem"); got.code == 0 {
					w.Error("a request for a key that is not there")
				}
				w.missing("none.pem")
				w.certificates("chain.pem", w.key)
				w.judge(w.image.plain(), `
openssl x509 -in chain.pem -noout -pubkey >key.pem
openssl req -in request.pem -outform DER | sed 's/Example release/Exemple release/' | openssl req -inform DER -out tampered.pem
valid() { openssl req -in "$1" -verify -noout 2>&1 | grep 'verify OK'; }`,
					check{"request", true, "valid request.pem"},
					check{"tampered request", false, "valid tampered.pem"},
					check{"key of the request", true, "openssl req -in request.pem -noout -pubkey | cmp - key.pem"},
					check{"name in the request", true, "openssl req -in request.pem -noout -subject | grep 'Example release'"},
					check{"certificate", true, "openssl verify -no-CApath -check_ss_sig -CAfile self.pem self.pem"},
					check{"key of the certificate", true, "openssl x509 -in self.pem -noout -pubkey | cmp - key.pem"},
				)
			})
		}
	}
}

// TestOpenSSLFailures: all the reasons for which any tool cannot sign, through every version of the engine and the provider.
func TestOpenSSLFailures(t *testing.T) {
	s := need(t)
	for _, via := range []string{"engine", "provider"} {
		cells := slices.DeleteFunc(s.inAll(users[:1], cell{sample: "openssl", form: via + "-fails", key: "demo/p-256"}),
			func(c cell) bool { return !slices.Contains(c.image.OpenSSL, via) })
		s.failsIn(t, cells, "pin-value=CONFIG", func(w *workplace) (arguments func(key string) []string, kept func()) {
			w.write("file", "never signed\n")
			return func(key string) []string { return []string{"--via", via, key, "file"} }, func() {
				w.missing("file.sig")
				w.missing("file.sig.part")
			}
		})
	}
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
			if via != "provider" {
				return
			}
			// What OpenSSL asks for in FIPS mode.
			got = w.tool("openssl", "storeutl", "-noout", "-keys", "-propquery", "fips=yes", "pkcs11:object=demo%2Fp-256;type=private")
			if got.code != 0 || !strings.Contains(got.stdout, "Total found: 1") {
				w.Errorf("asked for fips=yes: ended with %d", got.code)
			}
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
				binds: w.service.binds(), dir: w.dir, command: []string{samplesInImage + "/openssl/sign.sh", w.key, "file"},
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
