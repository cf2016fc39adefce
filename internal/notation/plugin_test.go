package notation

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"signkit/internal/mockapi"
)

// service starts a mock signing service with one kind of chain.
func service(t *testing.T, chainLength int) *mockapi.Server {
	t.Helper()
	cfg := mockapi.DefaultConfig()
	cfg.ChainLength = chainLength
	s, err := mockapi.Start(mockapi.Options{Config: cfg, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

// run runs one command against s; more are variables that win over the service's own.
func run(t *testing.T, s *mockapi.Server, command string, q any, more ...string) (answer []byte, f *failure) {
	t.Helper()
	in, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	p := Plugin{
		Environ:   append(append(slices.Clone(more), "SIGNPATH_TIMEOUTS_RETRY_COUNT=0", "SIGNPATH_LOG_CONSOLE_LEVEL=debug"), s.Environment()...),
		Directory: t.TempDir(), Parent: os.Getpid(), Stdin: bytes.NewReader(in), Stdout: &stdout, Stderr: &stderr,
	}
	code := p.Run(t.Context(), []string{command})
	if code == 0 {
		if stderr.Len() > 0 {
			t.Errorf("stderr of a command that succeeded: %s", stderr.String())
		}
		return stdout.Bytes(), nil
	}
	if stdout.Len() > 0 {
		t.Errorf("stdout of a command that failed: %s", stdout.String())
	}
	f = new(failure)
	if err := json.Unmarshal(stderr.Bytes(), f); err != nil {
		t.Fatalf("stderr is more than the error: %q: %v", stderr.String(), err)
	}
	return nil, f
}

func signRequest(key string) request {
	return request{ContractVersion: "1.0", KeyID: key, KeySpec: "EC-256", HashAlgorithm: "SHA-256", Payload: []byte("payload")}
}

func TestChainOfOneTwoThree(t *testing.T) {
	for length := 1; length <= 3; length++ {
		s := service(t, length)
		answer, f := run(t, s, "generate-signature", signRequest("demo/p-256"))
		if f != nil {
			t.Fatal(f)
		}
		var signed rawSignature
		if err := json.Unmarshal(answer, &signed); err != nil {
			t.Fatal(err)
		}
		if len(signed.CertificateChain) != length || len(signed.Signature) != 64 {
			t.Errorf("chain of %d: %d certificates, a signature of %d bytes", length, len(signed.CertificateChain), len(signed.Signature))
		}
	}
}

func TestMissingIssuerIsNamed(t *testing.T) {
	s := service(t, 3)
	answer, f := run(t, s, "generate-signature", signRequest("demo/p-256"))
	if f != nil {
		t.Fatal(f)
	}
	var signed rawSignature
	if err := json.Unmarshal(answer, &signed); err != nil {
		t.Fatal(err)
	}
	if err := s.SetFaults([]mockapi.Fault{{Route: "certificate", Kind: "status", Status: 403, Count: -1}}); err != nil {
		t.Fatal(err)
	}
	intermediate := writeChain(t, signed.CertificateChain[1])
	both := writeChain(t, signed.CertificateChain[2], signed.CertificateChain[1]) // any order
	for _, test := range []struct {
		name, file, want string
	}{
		{"no file", "", `"CN=Mock Signing Intermediate CA 1,`},
		{"root missing", intermediate, `"CN=Mock Signing Root CA,`},
		{"complete", both, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.ClearRequests()
			q := signRequest("demo/p-256")
			if test.file != "" {
				q.PluginConfig = map[string]string{"SIGNKIT_CERTIFICATE_CHAIN_FILE": test.file}
			}
			_, f := run(t, s, "generate-signature", q)
			if test.want == "" {
				if f != nil {
					t.Error(f)
				}
				return
			}
			if f == nil || !strings.Contains(f.Message, "the certificate of "+test.want) || !strings.Contains(f.Message, "SIGNKIT_CERTIFICATE_CHAIN_FILE") {
				t.Errorf("got %v", f)
			}
			if slices.ContainsFunc(s.Requests(), func(r mockapi.Request) bool { return r.Method == "POST" }) {
				t.Error("a signature was made that nobody can use")
			}
		})
	}
}

func writeChain(t *testing.T, chain ...[]byte) string {
	t.Helper()
	var text []byte
	for _, der := range chain {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	file := filepath.Join(t.TempDir(), "chain.pem")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRequestBudget(t *testing.T) {
	s := service(t, 3)
	for _, test := range []struct {
		command string
		want    int
	}{{"get-plugin-metadata", 0}, {"describe-key", 1}, {"generate-signature", 5}} { // policy, three for the chain, signature
		s.ClearRequests()
		if _, f := run(t, s, test.command, signRequest("demo/p-256")); f != nil {
			t.Fatal(f)
		}
		if got := len(s.Requests()); got != test.want {
			t.Errorf("%s: %d requests, want %d: %+v", test.command, got, test.want, s.Requests())
		}
	}
}

func TestFailuresSpeak(t *testing.T) {
	s := service(t, 3)
	with := func(change func(*request)) request {
		q := signRequest("demo/p-256")
		change(&q)
		return q
	}
	config := func(key, value string) request {
		return with(func(q *request) { q.PluginConfig = map[string]string{key: value} })
	}
	const unknownToken = "bm90IGEgdG9rZW4gb2YgdGhpcyBzZXJ2aWNl"
	for _, test := range []struct {
		name    string
		request request
		fault   *mockapi.Fault
		code    string
		want    string
	}{
		{"contract", with(func(q *request) { q.ContractVersion = "2.0" }), nil, codeContractVersion, `"2.0"`},
		{"no payload", with(func(q *request) { q.Payload = nil }), nil, codeValidation, "no payload"},
		{"no key id", with(func(q *request) { q.KeyID = "" }), nil, codeValidation, "no keyId"},
		{"form of the key id", with(func(q *request) { q.KeyID = "p-256" }), nil, codeValidation, "PROJECT/POLICY"},
		{"unknown key", with(func(q *request) { q.KeyID = "demo/none" }), nil, codeAccessDenied, "demo/none"},
		{"GPG key", with(func(q *request) { q.KeyID = "demo/gpg-p-256" }), nil, codeValidation, "no X.509 certificate"},
		{"key spec", with(func(q *request) { q.KeySpec = "EC-384" }), nil, codeValidation, "EC-384"},
		{"hash", with(func(q *request) { q.HashAlgorithm = "SHA-384" }), nil, codeValidation, "SHA-384"},
		{"token", config("ApiToken", unknownToken), nil, codeAccessDenied, "401"},
		{"no permission", config("ApiToken", s.SecondToken()), nil, codeAccessDenied, "submit"},
		{"form of a setting", config("SIGNPATH_ORGANIZATION_ID", "acme"), nil, codeValidation, "SIGNPATH_ORGANIZATION_ID"},
		{"unknown setting", config("Sign", "x"), nil, codeValidation, "--plugin-config Sign"},
		{"outage", config("ApiUrl", "https://127.0.0.1:1/Api"), nil, codeOther, "connection refused"},
		{"throttled", signRequest("demo/p-256"), &mockapi.Fault{Route: "sign", Kind: "status", Status: 429, Count: -1}, codeThrottled, "429"},
		{"refused", signRequest("demo/p-256"), &mockapi.Fault{Route: "sign", Kind: "status", Status: 403, Count: -1}, codeAccessDenied, "403"},
		{"slow", config("HttpRequestTimeoutInSeconds", "3"), &mockapi.Fault{Route: "sign", Kind: "hang", Count: -1}, codeTimeout, "timed out"},
		{"wrong signature", signRequest("demo/p-256"), &mockapi.Fault{Route: "sign", Kind: "wrong-signature", Count: -1}, codeOther, "verify"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Cleanup(s.ClearFaults)
			if test.fault != nil {
				if err := s.SetFaults([]mockapi.Fault{*test.fault}); err != nil {
					t.Fatal(err)
				}
			}
			_, f := run(t, s, "generate-signature", test.request)
			if f == nil || f.Code != test.code || !strings.Contains(f.Message, test.want) {
				t.Errorf("got %+v, want %s with %q", f, test.code, test.want)
			}
			if f != nil && (strings.Contains(f.Message, unknownToken) || strings.Contains(f.Message, s.Token())) {
				t.Error("the error shows the token")
			}
		})
	}
}

func TestCallsThatAreNotOfTheContract(t *testing.T) {
	for name, test := range map[string]struct {
		args  []string
		stdin string
		want  string
	}{
		"no command":      {nil, "", "its commands are"},
		"unknown command": {[]string{"generate-envelope"}, "{}", "its commands are"},
		"two":             {[]string{"describe-key", "x"}, "{}", "its commands are"},
		"no JSON":         {[]string{"describe-key"}, "hello", "not JSON"},
		"nothing":         {[]string{"describe-key"}, "", "not JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			p := Plugin{Stdin: strings.NewReader(test.stdin), Stdout: &stdout, Stderr: &stderr}
			if code := p.Run(t.Context(), test.args); code != 1 || !strings.Contains(stderr.String(), test.want) || stdout.Len() > 0 {
				t.Errorf("exit %d, %s%s", code, stdout.String(), stderr.String())
			}
			var f failure
			if err := json.Unmarshal(stderr.Bytes(), &f); err != nil || f.Code != codeValidation {
				t.Errorf("%v: %s", err, stderr.String())
			}
		})
	}
}

func TestVersion(t *testing.T) {
	var stdout bytes.Buffer
	p := Plugin{Stdout: &stdout}
	if code := p.Run(t.Context(), []string{"version"}); code != 0 || !strings.HasPrefix(stdout.String(), "notation-signkit ") {
		t.Errorf("exit %d, %s", code, stdout.String())
	}
}

// notation prints the message as it is.
func TestFailuresAreOnlyText(t *testing.T) {
	var out bytes.Buffer
	writeFailure(&out, errors.New("the service says \x1b[31mno\u202e\n::set-env name=X::1\n##[error]x"))
	var f failure
	if err := json.Unmarshal(out.Bytes(), &f); err != nil {
		t.Fatal(err)
	}
	if want := "the service says \\x1b[31mno\\u202e\n\\x3a:set-env name=X::1\n#\\x23[error]x"; f.Message != want {
		t.Errorf("got %q, want %q", f.Message, want)
	}
}
