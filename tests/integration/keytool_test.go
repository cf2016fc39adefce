package integration

import (
	"strings"
	"testing"
)

// keytoolQuestions asks for the keys of the token, one with its whole chain, and a certificate request that the key signs.
const keytoolQuestions = `
cat >/tmp/pkcs11.cfg <<END
name = SignKit
library = /usr/lib/signkit/libsignkit-pkcs11.so
slot = 1
END
keytool() {
  command keytool "$@" -J-Duser.language=en -keystore NONE -storetype PKCS11 -storepass CONFIG \
    -providerClass sun.security.pkcs11.SunPKCS11 -providerArg /tmp/pkcs11.cfg
}
keytool -list
keytool -list -v -alias "$1"
keytool -exportcert -rfc -alias "$1" >leaf.pem
keytool -certreq -alias "$1" -sigalg "$2" >request.pem
`

// TestKeytool: root with one kind of key, another user with the other: keytool finds each key by the name PROJECT/POLICY, with its chain, and lets it sign a request.
func TestKeytool(t *testing.T) {
	s := need(t)
	for i, key := range []string{"demo/rsa-3072", "demo/p-256"} {
		algorithm := []string{"SHA256withRSA", "SHA256withECDSA"}[i]
		s.each(t, s.inAll(users[i:i+1], cell{sample: "jarsigner", form: "keytool", key: key}), func(w *workplace) {
			got := w.tool("bash", "-euc", keytoolQuestions, "bash", w.key, algorithm)
			if got.code != 0 {
				w.Fatalf("ended with %d", got.code)
			}
			for _, want := range []string{
				"demo/rsa-3072, PrivateKeyEntry", "demo/p-256, PrivateKeyEntry", "Alias name: " + w.key, "Certificate chain length: 3",
			} {
				if !strings.Contains(got.stdout, want) {
					w.Errorf("keytool does not say %q", want)
				}
			}
			w.certificates("chain.pem", w.key)
			w.judge(w.image.plain(), "openssl x509 -in chain.pem -noout -pubkey >key.pem",
				check{"certificate", true, "openssl x509 -in leaf.pem | cmp - <(openssl x509 -in chain.pem)"},
				check{"request", true, "openssl req -in request.pem -verify -noout 2>&1 | grep 'verify OK'"},
				check{"key of the request", true, "openssl req -in request.pem -noout -pubkey | cmp - key.pem"},
			)
		})
	}
}
