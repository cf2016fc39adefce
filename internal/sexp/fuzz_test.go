package sexp

import (
	"bytes"
	"testing"
)

// Whatever is read is written again octet by octet: the canonical form is the
// only one.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"(10:public-key(3:rsa(1:n2:\x00\xff)(1:e1:\x03)))", "(1:a", "0:", "()", "01:a", "1048577:a",
		"((((((((((((((((((0:))))))))))))))))))",
		"(20:shadowed-private-key(3:ecc(5:curve10:NIST P-256)(1:q1:\x04)(8:shadowed5:t1-v1(1:s3:ref))))",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Parse(data)
		if err == nil && !bytes.Equal(e.Canonical(), data) {
			t.Errorf("Parse(%q) writes %q", data, e.Canonical())
		}
	})
}
