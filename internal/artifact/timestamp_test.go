package artifact

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"signkit/internal/mockapi"
)

// refusing is an address where nobody listens.
const refusing = "http://127.0.0.1:1/tsa"

// TestTheKeySignsOnceWhateverTheTimeStampDoes: what fails decides neither how often the key signs nor who is blamed.
func TestTheKeySignsOnceWhateverTheTimeStampDoes(t *testing.T) {
	tools := map[Kind][]string{Jar: {"jarsigner"}, Authenticode: {"osslsigncode", "openssl"}}
	for kind, programs := range tools {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			need(t, programs...)
			s := startService(t)
			down := mockapi.Fault{Route: "tsa", Kind: "status", Status: http.StatusServiceUnavailable}
			busy := mockapi.Fault{Route: "tsa", Kind: "status", Status: http.StatusTooManyRequests}
			outage := down
			outage.Count = -1
			tests := []struct {
				name        string
				policy      string
				authorities []string
				faults      []mockapi.Fault
				says        []string // in the error; none: it is signed
				silent      string   // not in the error
			}{
				{"first is not there", "p-256", []string{refusing, s.TSAURL()}, nil, nil, ""},
				{"first answers a page", "rsa-2048", []string{s.TSAURL() + "?1", s.TSAURL()}, []mockapi.Fault{{Route: "tsa", Kind: "html"}}, nil, ""},
				{"the only one is busy for a while", "p-256", []string{s.TSAURL()}, []mockapi.Fault{busy, down, busy}, nil, ""},
				{"all are out of order", "p-256", []string{s.TSAURL(), refusing}, []mockapi.Fault{outage},
					[]string{"no time-stamp authority gave a time-stamp", s.TSAURL() + ": 503", refusing, "SIGNKIT_TSA_URL"}, ""},
				{"the service refuses", "timestamp-tsa", []string{s.TSAURL(), s.TSAURL() + "?2", refusing},
					[]mockapi.Fault{{Route: "sign", Kind: "status", Status: http.StatusForbidden, Count: -1}}, []string{programs[0]}, "authority"},
			}
			for _, test := range tests {
				if kind == Jar && len(test.says) == 0 && len(test.faults) < 2 {
					continue // which authority is taken is the relay's affair; Java takes long to start
				}
				t.Run(test.name, func(t *testing.T) {
					s.fail(t, test.faults...)
					dir := t.TempDir()
					file := filepath.Join(dir, unsigned[kind](t, dir))
					signer := s.signer(t, test.policy, test.authorities...)
					s.signatures()
					outputs, err := signer.Sign(t.Context(), kind, file, t.TempDir())
					if n := s.signatures(); n != 1 {
						t.Errorf("%d signing requests, want 1", n)
					}
					if len(test.says) > 0 {
						wantError(t, err, test.says, test.silent)
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					verifier := &Verifier{Roots: s.RootFile(), Chain: signer.X509.Chain, TimeStamp: true, Environ: os.Environ()}
					if err := verifier.Verify(t.Context(), kind, outputs[0].Path, ""); err != nil {
						t.Errorf("the signed file: %v", err)
					}
				})
			}
		})
	}
}

func wantError(t *testing.T, err error, says []string, silent string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
	if silent != "" && strings.Contains(err.Error(), silent) {
		t.Errorf("error %q says %q", err, silent)
	}
}

// TestAnAuthorityThatDoesNotAnswerIsAskedLast: each file would wait for it otherwise. Who gave the time-stamp instead is told.
func TestAnAuthorityThatDoesNotAnswerIsAskedLast(t *testing.T) {
	var asked sync.Map
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Store(r, true)
		select {
		case <-r.Context().Done():
		case <-release:
		}
	}))
	defer silent.Close()
	defer close(release)
	good, err := mockapi.Start(mockapi.Options{StateDir: t.TempDir(), PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { good.Close(t.Context()) })
	authorities, err := NewAuthorities([]string{silent.URL, good.TSAURL()}, "")
	if err != nil {
		t.Fatal(err)
	}
	authorities.limit = 50 * time.Millisecond
	var warnings []error
	authorities.Warn = func(err error) { warnings = append(warnings, err) }
	// The limit holds for the good one as well: on a busy machine it may take some rounds.
	first := func() {
		t.Helper()
		var from string
		deadline := time.Now().Add(time.Minute)
		for from != good.TSAURL() {
			if time.Now().After(deadline) {
				t.Fatal("the authority that answers was never taken")
			}
			if from, err = authorities.First(t.Context()); err != nil {
				authorities.limit *= 2
			}
		}
	}
	first()
	if len(warnings) == 0 || !strings.Contains(warnings[0].Error(), good.TSAURL()+": "+silent.URL+": no answer within") {
		t.Errorf("warnings %v, want the name of the one that did not answer", warnings)
	}
	authorities.limit = time.Minute
	before := count(&asked)
	first()
	if after := count(&asked); after != before {
		t.Error("the authority that did not answer was asked first again")
	}
}

func count(m *sync.Map) (n int) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

func TestAddressesOfAuthorities(t *testing.T) {
	for _, address := range []string{"timestamp.example.com", "ftp://example.com/", "http://", "::"} {
		if _, err := NewAuthorities([]string{address}, ""); err == nil {
			t.Errorf("%s is taken", address)
		}
	}
	if none, err := NewAuthorities(nil, ""); none != nil || err != nil {
		t.Errorf("no addresses: %v, %v", none, err)
	}
	authorities, err := NewAuthorities([]string{"http://user:secret@127.0.0.1:1/"}, "")
	if err != nil {
		t.Fatal(err)
	}
	authorities.pause = time.Millisecond
	if _, err := authorities.First(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("First = %v, want an error without the password", err)
	}
	if _, err := NewAuthorities([]string{"https://tsa.example.com"}, "/nowhere/ca.pem"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a CA file that is not there: %v", err)
	}
}

// TestAnswersWithoutATimeStamp: RFC 3161, section 2.4.2, and what web servers answer.
func TestAnswersWithoutATimeStamp(t *testing.T) {
	for name, answer := range map[string]string{
		"rejection": "\x30\x05\x30\x03\x02\x01\x02", "page": "<html>", "nothing": "", "granted without a token": "\x30\x05\x30\x03\x02\x01\x00",
	} {
		if granted([]byte(answer)) == nil {
			t.Errorf("%s is taken for a time-stamp", name)
		}
	}
}

func TestToolsReachTheRelayWithoutAProxy(t *testing.T) {
	environ := withoutProxy([]string{"no_proxy=.example.com", "PATH=/bin"})
	for _, want := range []string{"no_proxy=.example.com,127.0.0.1", "NO_PROXY=127.0.0.1"} {
		if !slices.Contains(environ, want) {
			t.Errorf("environment %v, want %s", environ, want)
		}
	}
}
