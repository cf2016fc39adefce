package integration

import (
	"slices"
	"testing"

	"signkit/images"
)

// TestGlobalOpenSSLConfiguration: OPENSSL_CONF names the module for every program that uses OpenSSL, pkcs11-tool and
// osslsigncode among them, which load it themselves, too.
func TestGlobalOpenSSLConfiguration(t *testing.T) {
	s := need(t)
	for _, via := range []string{"engine", "provider"} {
		cells := slices.DeleteFunc(s.inAll(users[:1], cell{sample: "openssl", form: "global-conf-" + via, key: "demo/p-256"}),
			func(c cell) bool { return !slices.Contains(c.image.OpenSSL, via) })
		s.each(t, cells, func(w *workplace) {
			w.windowsFiles("file")
			got := s.run(w.T, container{
				image: "signkit:" + w.image.Tag(images.Full), user: w.user, network: true,
				env:   w.service.settings("OPENSSL_CONF=/etc/signkit/openssl-" + via + ".cnf"),
				binds: w.service.binds(), dir: w.dir,
				command: []string{"bash", "-euc", `samples=/usr/share/signkit/samples
for sample in openssl pkcs11-tool; do
  echo "by $sample" >$sample
  $samples/$sample/sign.sh "$1" $sample
done
cp openssl cms
$samples/openssl/sign.sh --form cms "$1" cms
$samples/osslsigncode/sign.sh --no-timestamp "$1" file.exe`, "bash", w.key},
			})
			if got.code != 0 {
				w.Fatalf("ended with %d", got.code)
			}
			w.certificates("chain.pem", w.key)
			w.roots("root.pem", "stranger.pem")
			verify := "bash $verify --root root.pem "
			w.judge(w.image.plain(), "",
				check{"openssl", true, verify + "chain.pem openssl"},
				check{"cms", true, verify + "--form cms chain.pem cms"},
				check{"pkcs11-tool", true, verify + "chain.pem pkcs11-tool"},
			)
		})
	}
}
