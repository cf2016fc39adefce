package mockapi_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"signkit/internal/mockapi"
)

// stampFile asks the service for a time-stamp of a file and returns the response's file.
func stampFile(t *testing.T, s *mockapi.Server, client *http.Client, file string, query ...string) string {
	t.Helper()
	q := filepath.Join(t.TempDir(), "request.tsq")
	openssl(t, append([]string{"ts", "-query", "-data", file, "-out", q}, query...)...)
	body, err := os.ReadFile(q)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Post(s.TSAURL(), "application/timestamp-query", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	reply, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "application/timestamp-reply" {
		t.Fatalf("POST /tsa: %s %s: %q", answer.Status, answer.Header.Get("Content-Type"), reply)
	}
	out := filepath.Join(t.TempDir(), "reply.tsr")
	if err := os.WriteFile(out, reply, 0o600); err != nil {
		t.Fatal(err)
	}
	return out
}

func openssl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(limited(t), "openssl", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func needOpenSSL(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		skip(t, "no openssl here")
	}
}

func TestTimeStampsVerifyWithOpenSSL(t *testing.T) {
	needOpenSSL(t)
	s, client := shared(t)
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, query := range [][]string{
		{"-sha256", "-cert"},
		{"-sha384", "-cert", "-no_nonce"},
		{"-sha512", "-cert"},
	} {
		t.Run(strings.Join(query, ""), func(t *testing.T) {
			reply := stampFile(t, s, client, file, query...)
			openssl(t, "ts", "-verify", "-data", file, "-in", reply, "-CAfile", s.RootFile())
			text := openssl(t, "ts", "-reply", "-in", reply, "-text")
			if hasNonce := !strings.Contains(text, "Nonce: unspecified"); hasNonce != (query[len(query)-1] != "-no_nonce") {
				t.Errorf("nonce is there: %v\n%s", hasNonce, text)
			}
		})
	}
	t.Run("without certificate", func(t *testing.T) {
		reply := stampFile(t, s, client, file, "-sha256")
		token := filepath.Join(t.TempDir(), "token")
		openssl(t, "ts", "-reply", "-in", reply, "-token_out", "-out", token)
		if out := openssl(t, "pkcs7", "-inform", "DER", "-in", token, "-print_certs"); strings.Contains(out, "BEGIN CERTIFICATE") {
			t.Errorf("the token holds a certificate that was not asked for:\n%s", out)
		}
	})
}

func TestTimeStampOfOtherDataIsRefusedByOpenSSL(t *testing.T) {
	needOpenSSL(t)
	s, client := shared(t)
	dir := t.TempDir()
	stamped, other := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := os.WriteFile(stamped, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, []byte("hullo"), 0o600); err != nil {
		t.Fatal(err)
	}
	reply := stampFile(t, s, client, stamped, "-sha256", "-cert")
	out, err := exec.CommandContext(limited(t), "openssl", "ts", "-verify", "-data", other, "-in", reply, "-CAfile", s.RootFile()).CombinedOutput()
	if err == nil {
		t.Errorf("openssl accepts the time-stamp of other data:\n%s", out)
	}
}

func TestTimeStampRejectionsSayWhy(t *testing.T) {
	needOpenSSL(t)
	s, client := shared(t)
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, want string
		query      []string
	}{
		{"hash", "unrecognized or unsupported algorithm", []string{"-sha1"}},
		{"policy", "policy", []string{"-sha256", "-tspolicy", "1.2.3.4"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			reply := stampFile(t, s, client, file, test.query...)
			text := openssl(t, "ts", "-reply", "-in", reply, "-text")
			if !strings.Contains(text, "Status: Rejected") || !strings.Contains(text, test.want) {
				t.Errorf("want a rejection about %q, got\n%s", test.want, text)
			}
		})
	}
}

func TestTimeStampFaultsDoNotVerify(t *testing.T) {
	needOpenSSL(t)
	s := start(t, nil)
	client := clientFor(t, s)
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"wrong-signature", "wrong-key"} {
		t.Run(kind, func(t *testing.T) {
			if err := s.SetFaults([]mockapi.Fault{{Route: "tsa", Kind: kind}}); err != nil {
				t.Fatal(err)
			}
			reply := stampFile(t, s, client, file, "-sha256", "-cert")
			out, err := exec.CommandContext(limited(t), "openssl", "ts", "-verify", "-data", file, "-in", reply, "-CAfile", s.RootFile()).CombinedOutput()
			if err == nil {
				t.Errorf("openssl accepts it:\n%s", out)
			}
		})
	}
}
