package moduletest

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"signkit/internal/mockapi"
)

// TestFaults: what the service does wrong becomes a return value and one
// record; nothing wrong is handed out, and a short trouble is waited out.
func TestFaults(t *testing.T) {
	t.Parallel()
	type fault = mockapi.Fault
	tests := []struct {
		name  string
		fault fault
		call  string // that fails; "": it signs all the same
		rv    string
		says  string
	}{
		{"400", fault{Route: "sign", Kind: "status", Status: 400}, "C_Sign", "CKR_ARGUMENTS_BAD", "400"},
		{"401", fault{Route: "policies", Kind: "status", Status: 401}, "C_FindObjectsInit", "CKR_ARGUMENTS_BAD", "SIGNPATH_API_TOKEN"},
		{"403", fault{Route: "sign", Kind: "status", Status: 403}, "C_Sign", "CKR_ARGUMENTS_BAD", "submitter"},
		{"404", fault{Route: "policies", Kind: "status", Status: 404}, "C_FindObjectsInit", "CKR_ARGUMENTS_BAD", "SIGNPATH_ORGANIZATION_ID"},
		{"409", fault{Route: "sign", Kind: "status", Status: 409}, "C_Sign", "CKR_ARGUMENTS_BAD", "409"},
		{"413", fault{Route: "sign", Kind: "status", Status: 413}, "C_Sign", "CKR_ARGUMENTS_BAD", "413"},
		{"429", fault{Route: "sign", Kind: "status", Status: 429}, "C_Sign", "CKR_FUNCTION_FAILED", "429"},
		{"429 once", fault{Route: "sign", Kind: "status", Status: 429, RetryAfter: "1", Count: 1}, "", "", ""},
		{"500", fault{Route: "sign", Kind: "status", Status: 500}, "C_Sign", "CKR_DEVICE_ERROR", "500"},
		{"502", fault{Route: "sign", Kind: "status", Status: 502}, "C_Sign", "CKR_FUNCTION_FAILED", "502"},
		{"503", fault{Route: "policies", Kind: "status", Status: 503}, "C_FindObjectsInit", "CKR_FUNCTION_FAILED", "503"},
		{"503 once", fault{Route: "any", Kind: "status", Status: 503, Count: 1}, "", "", ""},
		{"504", fault{Route: "sign", Kind: "status", Status: 504}, "C_Sign", "CKR_FUNCTION_FAILED", "504"},
		{"delay", fault{Route: "any", Kind: "delay", MS: 300, Count: 2}, "", "", ""},
		{"hang", fault{Route: "sign", Kind: "hang"}, "C_Sign", "CKR_FUNCTION_FAILED", "timed out"},
		{"hang once", fault{Route: "sign", Kind: "hang", Count: 1}, "", "", ""},
		{"reset", fault{Route: "sign", Kind: "reset"}, "C_Sign", "CKR_FUNCTION_FAILED", "gave up after 3 attempts"},
		{"reset once", fault{Route: "policies", Kind: "reset", Count: 1}, "", "", ""},
		{"garbage", fault{Route: "policies", Kind: "garbage"}, "C_FindObjectsInit", "", "JSON"},
		{"web page", fault{Route: "policies", Kind: "html"}, "C_FindObjectsInit", "", "SIGNPATH_API_URL"},
		{"truncated", fault{Route: "policies", Kind: "truncated"}, "C_FindObjectsInit", "CKR_FUNCTION_FAILED", ""},
		{"truncated once", fault{Route: "sign", Kind: "truncated", Count: 1}, "", "", ""},
		{"wrong signature", fault{Route: "sign", Kind: "wrong-signature"}, "C_Sign", "CKR_DEVICE_ERROR", "does not verify"},
		{"wrong key", fault{Route: "sign", Kind: "wrong-key"}, "C_Sign", "CKR_DEVICE_ERROR", "certificate may have changed"},
	}
	for _, key := range []string{"demo/rsa-2048", "demo/p-256"} {
		for _, test := range tests {
			if key == "demo/p-256" && !strings.HasPrefix(test.name, "wrong") {
				continue // the same for every key
			}
			t.Run(key+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				program := shared.program(t, "sign", "cc")
				if test.fault.Count == 0 {
					test.fault.Count = -1 // for good
				}
				own := ownServiceFor(t, test.fault)
				run := host{args: []string{program, shared.variant[0].module, key}, env: append(own.environment(), quick...)}
				if test.fault.Kind == "hang" {
					run.env = append(run.env, hasty...)
				}
				if test.call == "" {
					shared.mustRun(t, run, key, "hello", 2)
					return
				}
				refused(t, shared.run(t, run), test.call, test.rv, test.says)
			})
		}
	}
}

// refused checks a run that must end without a signature and with one record.
func refused(t *testing.T, got outcome, call, rv, says string) {
	t.Helper()
	if got.code == 0 || strings.Contains(got.stdout, "signature") {
		t.Errorf("ended with %d: %s", got.code, got.stdout)
	}
	if n := strings.Count(got.stderr, "signkit: error"); n != 1 {
		t.Errorf("%d records", n)
	}
	for _, want := range []string{"call=" + call, "result=" + rv, says} {
		if !strings.Contains(got.stderr, want) {
			t.Errorf("no %q in\n%s", want, got.stderr)
		}
	}
	if strings.Contains(got.stderr, shared.service.Token()) {
		t.Error("the token is shown")
	}
}

// TestUnreachable: the service cannot be reached, or is not to be trusted.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	program := shared.program(t, "sign", "cc")
	tests := []struct {
		name     string
		env      []string
		rv, says string
	}{
		{"nobody listens", []string{"SIGNPATH_API_URL=https://127.0.0.1:1/Api"}, "CKR_FUNCTION_FAILED", "SIGNPATH_API_URL"},
		{"no such host", []string{"SIGNPATH_API_URL=https://signing.invalid/Api"}, "CKR_FUNCTION_FAILED", "host name in SIGNPATH_API_URL"},
		{"unknown root", []string{"SIGNKIT_CA_FILE="}, "CKR_GENERAL_ERROR", "SIGNKIT_CA_FILE"},
		{"proxy is down", []string{"http_proxy=127.0.0.1:1", "SIGNPATH_API_URL=https://signing.invalid/Api"}, "CKR_FUNCTION_FAILED", "http_proxy"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run := host{args: []string{program, shared.variant[0].module, "demo/p-256"}, env: append(test.env, quick...)}
			refused(t, shared.run(t, run), "C_FindObjectsInit", test.rv, test.says)
		})
	}
}

// TestRestartOfTheService: it is away when the tool starts, and comes back.
func TestRestartOfTheService(t *testing.T) {
	t.Parallel()
	state := t.TempDir()
	listen := "127.0.0.1:" + ownPort(t)
	start := func() *mockapi.Server {
		t.Helper()
		cfg, err := mockapi.LoadConfig(shared.dir + "/service.json")
		if err != nil {
			t.Fatal(err)
		}
		var s *mockapi.Server
		err = whenFree(func() (err error) {
			s, err = mockapi.Start(mockapi.Options{Listen: listen, StateDir: state, Config: cfg})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := start()
	env := first.Environment()
	closing, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	if err := first.Close(closing); err != nil {
		t.Fatal(err)
	}
	// Somebody else answers, and hangs up, until the first attempt has failed.
	var away net.Listener
	if err := whenFree(func() (err error) {
		away, err = net.Listen("tcp", listen)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := away.(*net.TCPListener).SetDeadline(time.Now().Add(bound)); err != nil {
		t.Fatal(err)
	}
	program := shared.program(t, "sign", "cc")
	ended := make(chan outcome, 1)
	env = shared.environment(t, append(env, "SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY=0.3", "SIGNPATH_LOG_CONSOLE_LEVEL=warning")...)
	go func() {
		got, err := launch([]string{program, shared.variant[0].module, "demo/p-256"}, env)
		if err != nil {
			t.Error(err)
		}
		ended <- got
	}()
	for range 2 { // the prepared connection, and the first request's own
		conn, err := away.Accept()
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	away.Close()
	second := start()
	defer second.Close(closing)
	got := <-ended
	if !strings.Contains(got.stderr, "waiting") {
		t.Errorf("the wait is not announced:\n%s", got.stderr)
	}
	if got.code != 0 || strings.Count(got.stdout, "signature ") != 2 {
		t.Errorf("ended with %d; stderr:\n%s", got.code, got.stderr)
	}
}
