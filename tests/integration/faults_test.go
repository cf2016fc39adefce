package integration

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// failure is something that goes wrong while samples/openssl signs, and what a person then sees.
type failure struct {
	name     string
	policy   string // default p-256
	env      []string
	faults   []fault
	outage   time.Duration // the service cannot be reached for so long, from the beginning
	code     int           // how sign.sh must end; with 0, the signature must be good
	says     []string      // on stderr
	requests int           // that both the service and the relay must count
	engine   int           // instead, if not 0, where openssl has the engine alone, which asks again after some errors
}

const wrongToken = "bm90IGEgdG9rZW4gb2YgdGhpcyBzZXJ2aWNl"

// failures are seen at the level that shows retries, too; the images' own is error.
var failures = []failure{
	{name: "wrong-token", env: []string{"SIGNPATH_API_TOKEN=" + wrongToken}, code: 1, says: []string{"401", "SIGNPATH_API_TOKEN"}, requests: 1},
	{name: "no-permission", env: []string{"SIGNPATH_API_TOKEN=" + observerToken}, code: 1,
		says: []string{"may submit to no", "demo/p-256"}, requests: 2},
	{name: "unknown-policy", policy: "nobodys", code: 1, says: []string{"demo/nobodys"}, requests: 2},
	{name: "outage", outage: 3 * time.Second, code: 0, says: []string{"connection refused", "waiting"}, requests: 2},
	{name: "error-500-once", faults: []fault{{Route: "sign", Kind: "status", Status: 500}}, code: 0,
		says: []string{"500", "not known whether the service signed", "waiting"}, requests: 3},
	{name: "error-500", env: []string{"SIGNPATH_TIMEOUTS_RETRY_COUNT=1"}, code: 1,
		faults: []fault{{Route: "sign", Kind: "status", Status: 500, Count: -1}},
		says:   []string{"500", "gave up after 2 attempts", "traceId"}, requests: 3, engine: 5},
	{name: "too-many-requests", faults: []fault{{Route: "sign", Kind: "status", Status: 429, RetryAfter: 2}}, code: 0,
		says: []string{"429", "waiting 2s"}, requests: 3},
	{name: "wrong-signature", faults: []fault{{Route: "sign", Kind: "wrong-signature"}}, code: 1,
		says: []string{"does not verify with the policy's public key", "signing request"}, requests: 2},
}

// TestFailures: what goes wrong ends with an exit code, the cause on stderr and no signature; what passes is waited for.
func TestFailures(t *testing.T) {
	s := need(t)
	for _, f := range failures {
		key := "demo/p-256"
		if f.policy != "" {
			key = "demo/" + f.policy
		}
		cells := s.inAll(users[:1], cell{sample: "openssl", form: "failure-" + f.name, key: key})
		s.each(t, cells, func(w *workplace) { tryFailure(w, f) })
	}
}

func tryFailure(w *workplace, f failure) {
	w.write("file", "what is to be signed\n")
	w.write("file.sig", "left over from an earlier run")
	w.certificates("chain.pem", "demo/p-256")
	w.service.clearRequests(w.T)
	w.more = append([]string{"SIGNPATH_LOG_CONSOLE_LEVEL=warning"}, f.env...)
	w.service.fail(w.T, f.faults...)
	if f.outage > 0 {
		w.service.relay.down()
		back := time.AfterFunc(f.outage, func() {
			if err := w.service.relay.up(); err != nil {
				w.Error(err)
			}
		})
		defer back.Stop()
	}
	got := w.script("sign.sh", w.key, "file")
	if got.code != f.code {
		w.Errorf("ended with %d, want %d", got.code, f.code)
	}
	for _, text := range f.says {
		if !strings.Contains(got.stderr, text) {
			w.Errorf("stderr does not say %q", text)
		}
	}
	want := f.requests
	if f.engine != 0 && !slices.Contains(w.image.OpenSSL, "provider") {
		want = f.engine
	}
	service := w.service.requests(w.T)
	if _, relay := w.service.relay.counts(); len(service) != want || relay != want {
		w.Errorf("the service counts %d requests and the relay %d, want %d: %+v", len(service), relay, want, service)
	}
	for _, token := range []string{wrongToken, observerToken, w.service.setting("SIGNPATH_API_TOKEN")} {
		if strings.Contains(got.stdout+got.stderr, token) {
			w.Error("the output shows the token")
		}
	}
	if f.code != 0 {
		w.missing("file.sig")
		return
	}
	w.roots("root.pem", "stranger.pem")
	w.judge(w.image.plain(), "", check{"signed", true, "bash $verify --root root.pem chain.pem file"})
}

// TestReadWriteSession: an old pkcs11-tool wants to write, which is refused with the name of the setting that allows it.
func TestReadWriteSession(t *testing.T) {
	s := need(t)
	for _, f := range []struct {
		name, value string
		code        int
	}{{"refused", "", 1}, {"tolerated", "true", 0}} {
		cells := slices.DeleteFunc(s.inAll(users[:1], cell{sample: "pkcs11-tool", form: "read-write-" + f.name, key: "demo/p-256"}),
			func(c cell) bool { return !c.image.ReadWriteSessions })
		s.each(t, cells, func(w *workplace) {
			const setting = "SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS"
			w.more = []string{setting + "=" + f.value}
			got := w.tool("pkcs11-tool", "--module", moduleInImage, "--login", "--pin", "CONFIG", "--list-objects", "--type", "cert")
			if got.code != f.code {
				w.Errorf("ended with %d, want %d", got.code, f.code)
			}
			if strings.Contains(got.stderr, setting+"=true") != (f.code != 0) {
				w.Errorf("names the setting %s: %v", setting, f.code == 0)
			}
		})
	}
}
