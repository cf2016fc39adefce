package mockapi

import (
	"encoding/hex"
	"testing"
)

// TestBERRequestIsRead has what osslsigncode 2.1 (Debian 11) sends: certReq is TRUE as 01, where DER has FF.
func TestBERRequestIsRead(t *testing.T) {
	const imprint = "16f10d5a0ca1bb91919793c68b9a285245875aa456282b7d98c1fab13353bccb"
	const head = "020101" + "3031" + "300d06096086480165030402010500" + "0420" + imprint
	for _, test := range []struct {
		name, request string
		certReq       bool
	}{
		{"DER", "3039" + head + "0101ff", true},
		{"BER", "3039" + head + "010101", true},
		{"absent", "3036" + head, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			der, err := hex.DecodeString(test.request)
			if err != nil {
				t.Fatal(err)
			}
			q, failure := readStampRequest(der)
			if failure != noFailure {
				t.Fatalf("refused with failure bit %d", failure)
			}
			if bool(q.CertReq) != test.certReq || hex.EncodeToString(q.MessageImprint.HashedMessage) != imprint {
				t.Errorf("read as %+v", q)
			}
		})
	}
}
