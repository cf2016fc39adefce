package notation

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/notaryproject/notation-plugin-framework-go/plugin"
)

// reencode turns one form into the other through JSON and refuses what the other does not know.
func reencode(t *testing.T, from, to any) {
	t.Helper()
	data, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
}

// TestMessagesAreThoseOfTheContract compares ours with the types that Notary Project publishes.
func TestMessagesAreThoseOfTheContract(t *testing.T) {
	var q request
	reencode(t, plugin.GenerateSignatureRequest{
		ContractVersion: plugin.ContractVersion, KeyID: "demo/a", KeySpec: plugin.KeySpecEC256, Hash: plugin.HashAlgorithmSHA256,
		Payload: []byte("payload"), PluginConfig: map[string]string{"ApiUrl": "x"},
	}, &q)
	if err := q.check("keyId", "keySpec", "hashAlgorithm", "payload"); err != nil || string(q.Payload) != "payload" {
		t.Errorf("%+v: %v", q, err)
	}
	if q.PluginConfig["ApiUrl"] != "x" || q.ContractVersion != contractVersion {
		t.Errorf("%+v", q)
	}
	var describe request
	reencode(t, plugin.DescribeKeyRequest{ContractVersion: plugin.ContractVersion, KeyID: "demo/a"}, &describe)
	if err := describe.check("keyId"); err != nil {
		t.Error(err)
	}

	var m plugin.GetMetadataResponse
	answer, err := new(Plugin).metadata(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	reencode(t, answer, &m)
	if !m.HasCapability(plugin.CapabilitySignatureGenerator) || m.Name != "signkit" {
		t.Errorf("%+v", m)
	}
	var key plugin.DescribeKeyResponse
	reencode(t, keyDescription{"demo/a", "EC-256"}, &key)
	var signed plugin.GenerateSignatureResponse
	reencode(t, rawSignature{"demo/a", []byte("s"), "ECDSA-SHA-256", [][]byte{{1}}}, &signed)
	if signed.KeyID != "demo/a" || string(signed.Signature) != "s" || len(signed.CertificateChain) != 1 {
		t.Errorf("%+v", signed)
	}
}

func TestNameIsThatOfTheFile(t *testing.T) {
	for program, want := range map[string]string{
		"": "signkit", "/x/notation-signkit": "signkit", "/x/signpath/notation-signpath": "signpath", "/x/other": "signkit",
	} {
		if got := (&Plugin{Program: program}).name(); got != want {
			t.Errorf("%q is called %s, want %s", program, got, want)
		}
	}
}

func TestErrorCodesAreThoseOfTheContract(t *testing.T) {
	for ours, theirs := range map[string]plugin.ErrorCode{
		codeValidation: plugin.ErrorCodeValidation, codeContractVersion: plugin.ErrorCodeUnsupportedContractVersion,
		codeAccessDenied: plugin.ErrorCodeAccessDenied, codeTimeout: plugin.ErrorCodeTimeout,
		codeThrottled: plugin.ErrorCodeThrottled, codeOther: plugin.ErrorCodeGeneric,
	} {
		var e plugin.Error
		reencode(t, &failure{ours, "why"}, &e)
		if e.ErrCode != theirs || e.Message != "why" {
			t.Errorf("%s is read as %+v", ours, e)
		}
	}
}
