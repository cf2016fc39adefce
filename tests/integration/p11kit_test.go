package integration

import (
	"testing"

	"signkit/images"
)

// TestP11Kit: programs that are told of no module find the token by the installed file, and sign with its keys.
func TestP11Kit(t *testing.T) {
	s := need(t)
	cells := s.inAll(users[:2], cell{sample: "pkcs11-tool", form: "p11-kit", key: "demo/rsa-3072"},
		cell{sample: "pkcs11-tool", form: "p11-kit", key: "demo/p-256"})
	s.each(t, cells, func(w *workplace) {
		w.copy("testdata/p11-kit.sh", "p11-kit.sh")
		got := s.run(w.T, container{
			image: "signkit:" + w.image.Tag(images.Full), user: w.user, network: true,
			env:   w.service.settings("SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true"),
			binds: w.service.binds(), dir: w.dir, command: []string{"bash", "p11-kit.sh", w.key},
		})
		const want = "finds-token yes\nlist-all yes\ntest-sign yes\nexport yes\nproxy yes\n"
		if got.code != 0 || got.stdout != want {
			w.Fatalf("ended with %d, and said\n%swant\n%s", got.code, got.stdout, want)
		}
		w.certificates("chain.pem", w.key)
		w.roots("root.pem", "stranger.pem")
		w.judge(w.image.plain(), "echo x >tampered",
			check{"signed", true, "bash $verify --root root.pem chain.pem file"},
			check{"certificate of the token", true, "bash $verify certificate.pem file"},
			check{"tampered", false, "bash $verify --root root.pem chain.pem tampered file.sig"},
		)
	})
}
