package integration

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// toolFailure is a reason for which a tool cannot sign.
type toolFailure struct {
	name    string
	env     []string
	key     string // if not one that works
	fault   *fault
	pin     bool   // the PIN is of no known form
	want    string // is on stderr
	wantSet string // and this: the setting or thing to check
}

const unknownToken = "bm90IGEgdG9rZW4gb2YgdGhpcyBzZXJ2aWNl"

func toolFailures() []toolFailure {
	return []toolFailure{
		{name: "token", env: []string{"SIGNPATH_API_TOKEN=" + unknownToken}, want: "401", wantSet: "SIGNPATH_API_TOKEN"},
		{name: "permission", env: []string{"SIGNPATH_API_TOKEN=" + observerToken}, want: "submit", wantSet: "submitter"},
		{name: "key", key: "demo/none", want: "demo/none", wantSet: "submitter"},
		{name: "outage", env: []string{"SIGNPATH_API_URL=https://127.0.0.1:1/Api"}, want: "connection refused", wantSet: "SIGNPATH_API_URL"},
		{name: "signing", fault: &fault{Route: "sign", Kind: "status", Status: 503, Count: -1}, want: "503", wantSet: "traceId"},
		{name: "pin", pin: true, want: "PIN", wantSet: "CONFIG"},
	}
}

// fails signs with a sample in vain, in every image that has its tools.
func (s *setup) fails(t *testing.T, sample, pin string, prepare func(*workplace) (arguments func(key string) []string, kept func())) {
	s.failsIn(t, s.inAll(users[:1], cell{sample: sample, form: "fails", key: "demo/p-256"}), pin, prepare)
}

// failsIn signs with the sample of each cell in vain, for every reason: the exit status is not 0, stderr says why and what to do,
// nothing shows a token. pin is the text in sign.sh that passes the PIN, empty if it passes none. prepare returns the arguments of
// sign.sh and a check that what was to be signed is as before.
func (s *setup) failsIn(t *testing.T, cells []cell, pin string, prepare func(*workplace) (arguments func(key string) []string, kept func())) {
	for _, f := range toolFailures() {
		if f.pin && pin == "" {
			continue
		}
		reason := slices.Clone(cells)
		for i := range reason {
			reason[i].form += "-" + f.name
		}
		s.each(t, reason, func(w *workplace) {
			arguments, kept := prepare(w)
			w.more = append(append(w.more, f.env...), "SIGNPATH_TIMEOUTS_RETRY_COUNT=0")
			if f.fault != nil {
				w.service.fail(w.T, *f.fault)
			}
			key := w.key
			if f.key != "" {
				key = f.key
			}
			script := `exec "$0" "$@"`
			if f.pin {
				script = `sed "s|` + pin + `|` + strings.Replace(pin, "CONFIG", "1234", 1) + `|" "$0" >/tmp/sign.sh && exec bash /tmp/sign.sh "$@"`
			}
			got := w.with(append([]string{"bash", "-c", script, samplesInImage + "/" + w.sample + "/sign.sh"}, arguments(key)...)...)
			if got.code == 0 {
				w.Error("sign.sh ended with 0")
			}
			if !strings.Contains(got.stderr, f.want) || !strings.Contains(got.stderr, f.wantSet) {
				w.Errorf("stderr does not say %q and %q", f.want, f.wantSet)
			}
			for _, token := range []string{unknownToken, observerToken, w.service.setting("SIGNPATH_API_TOKEN")} {
				if strings.Contains(got.stdout+got.stderr, token) {
					w.Error("the output shows the token")
				}
			}
			kept()
		})
	}
}

// signsOnce signs with a sample what the service refuses, with three authorities to take time-stamps of: it is asked once, and is the
// one that is blamed. prepare returns the arguments of sign.sh. The key is RSA: libp11's engine asks twice for ECDSA.
func (s *setup) signsOnce(t *testing.T, sample string, prepare func(*workplace) []string) {
	s.each(t, s.inAll(users[:1], cell{sample: sample, form: "once", key: "demo/rsa-3072"}), func(w *workplace) {
		arguments := prepare(w)
		good := "https://" + w.service.relay.address + "/tsa"
		w.more = append(w.more, "SIGNKIT_TSA_URL="+good+" "+good+"?2 "+good+"?3", "SIGNPATH_TIMEOUTS_RETRY_COUNT=0")
		w.service.fail(w.T, fault{Route: "sign", Kind: "status", Status: 403, Count: -1})
		got := w.with(append([]string{samplesInImage + "/" + sample + "/sign.sh"}, arguments...)...)
		asked := 0
		for _, r := range w.service.requests(w.T) {
			if r.Method == http.MethodPost && strings.Contains(r.Path, "SigningRequests") {
				asked++
			}
		}
		if got.code == 0 || asked != 1 {
			w.Errorf("sign.sh ended with %d after %d signing requests, want a failure after 1", got.code, asked)
		}
		if !strings.Contains(got.stderr, "403 Forbidden") || strings.Contains(got.stderr, "no time-stamp") {
			w.Error("stderr does not blame the service alone")
		}
	})
}

// with runs a command as tool does, with the programs that are mounted for the sample.
func (w *workplace) with(command ...string) result {
	w.Helper()
	return w.setup.run(w.T, container{
		image: cmp.Or(w.tag, w.image.tag(w.sample)), user: w.user, network: true, env: w.service.settings(w.more...),
		binds: append(w.service.binds(), mounted(w.T, w.sample)...), dir: w.dir, command: command,
	})
}
