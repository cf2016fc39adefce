package integration

import (
	"slices"
	"strings"
	"testing"
)

// listedMechanisms are those that the token offers for signing, as pkcs11-tool names them, by kind of key.
var listedMechanisms = map[string][]string{
	"RSA": {
		"RSA-PKCS", "SHA1-RSA-PKCS", "SHA256-RSA-PKCS", "SHA384-RSA-PKCS", "SHA512-RSA-PKCS",
		"RSA-PKCS-PSS", "SHA256-RSA-PKCS-PSS", "SHA384-RSA-PKCS-PSS", "SHA512-RSA-PKCS-PSS",
	},
	"EC": {"ECDSA", "ECDSA-SHA1", "ECDSA-SHA256", "ECDSA-SHA384", "ECDSA-SHA512"},
}

// TestPKCS11ToolEverything: every mechanism that the token lists signs by the key's id, every other question is answered, and
// the tool's own test finds no fault.
func TestPKCS11ToolEverything(t *testing.T) {
	s := need(t)
	for kind, key := range map[string]string{"RSA": "demo/rsa-3072", "EC": "demo/p-256"} {
		s.each(t, s.inAll(users[:1], cell{sample: "pkcs11-tool", form: "everything", key: key}), func(w *workplace) {
			w.more = []string{"SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true"} // --test asks for one
			w.copy("testdata/pkcs11-tool-sign.sh", "sign.sh")
			w.copy("testdata/pkcs11-tool-verify.sh", "verify.sh")
			got := w.tool("bash", "sign.sh", key, kind)
			if got.code != 0 {
				w.Fatalf("ended with %d", got.code)
			}
			var want []string
			for _, name := range append(slices.Clone(listedMechanisms[kind]), "show-info", "list-slots", "list-token-slots",
				"list-objects", "read-certificate", "read-public-key", "test") {
				want = append(want, name+" yes")
			}
			answers := strings.Split(strings.TrimSpace(got.stdout), "\n")
			slices.Sort(answers)
			slices.Sort(want)
			if !slices.Equal(answers, want) {
				w.Errorf("pkcs11-tool says\n%s\nwant\n%s", strings.Join(answers, "\n"), strings.Join(want, "\n"))
			}
			checks := []check{{"public key read", true, "cmp key.pem read.pem"}}
			for _, m := range listedMechanisms[kind] {
				checks = append(checks, check{m, true, "bash verify.sh " + m + " file"}, check{m + " tampered", false, "bash verify.sh " + m + " tampered"})
			}
			w.judge(w.image.plain(), `echo x >tampered
openssl x509 -inform DER -in certificate.der -noout -pubkey >key.pem
openssl pkey -pubin -inform DER -in key.der -out read.pem`, checks...)
		})
	}
}
