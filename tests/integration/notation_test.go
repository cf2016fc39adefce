package integration

import (
	"strings"
	"testing"
)

// TestNotation signs images in both formats, and verifies them with a trust policy that knows the root alone.
func TestNotation(t *testing.T) {
	s := need(t)
	cells := append(s.inAll(twoUsers, cell{sample: "notation", key: "demo/p-256"}),
		s.inAll(users[:1], cell{sample: "notation", key: "demo/rsa-3072"})...)
	s.each(t, cells, func(w *workplace) {
		images := w.registryFor(4)
		w.roots("root.pem", "stranger.pem")
		w.service.clearRequests(w.T)
		w.signMounted("--http", "--tsa-root", "root.pem", w.key, images[0])
		// A time-stamp to see that the authority gives one. The plugin runs twice: the policy for the kind of key; then policy, chain
		// and signature. And the time-stamp.
		w.service.wantRequests(w.T, 1+1+5+1, 4)
		w.signMounted("--http", "--cose", "--tsa-root", "root.pem", w.key, images[1])

		verify := "bash $verify --http --root root.pem "
		if w.user != users[0] { // who signed makes no difference to the rest
			w.judgeOnline("export HOME=/tmp", check{"signed", true, verify + images[0] + " " + images[1]},
				check{"unsigned", false, verify + images[3]})
			return
		}
		w.signMounted("--http", "--no-timestamp", w.key, images[2])
		inspect := "notation inspect --insecure-registry --output json "
		w.judgeOnline("export HOME=/tmp",
			check{"signed", true, verify + images[0] + " " + images[1]},
			check{"JWS", true, inspect + images[0] + " | grep -q application/jose+json"},
			check{"COSE", true, inspect + images[1] + " | grep -q application/cose"},
			check{"unsigned", false, verify + images[3]},
			check{"wrong root", false, "bash $verify --http --root stranger.pem --tsa-root root.pem " + images[0]},
			check{"wrong root of the time-stamp", false, verify + "--tsa-root stranger.pem " + images[0]},
			check{"no time-stamp", false, verify + images[2]},
			check{"no time-stamp wanted", true, verify + "--no-timestamp " + images[2]},
			check{"other signer", false, verify + "--identity 'x509.subject: C=US, ST=WA, O=other' " + images[0]},
			check{"time-stamp that lives too short", true, verify + "--tsa-years 11 " + images[0] + " 2>&1 | grep 'about 10 years'"},
		)
	})
}

// TestNotationInstallsPlugin: notation's own installation takes the file, and every setting can come from --plugin-config.
func TestNotationInstallsPlugin(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "notation", form: "plugin-config", key: "demo/p-256"}), func(w *workplace) {
		images := w.registryFor(1)
		w.roots("root.pem", "stranger.pem")
		w.more = []string{"HOME=/tmp", "REFERENCE=" + images[0]}
		got := w.with("bash", "-c", `set -e
config=()
for name in SIGNPATH_API_URL SIGNPATH_ORGANIZATION_ID SIGNPATH_API_TOKEN SIGNKIT_CA_FILE; do
  config+=(--plugin-config "$name=${!name}")
  unset "$name"
done
notation plugin install --file /usr/lib/signkit/notation-signkit
notation plugin list
notation sign --insecure-registry --plugin signkit --id demo/p-256 "${config[@]}" "$REFERENCE"`)
		if got.code != 0 || !strings.Contains(got.stdout, "signkit") {
			w.Fatalf("ended with %d", got.code)
		}
		w.judgeOnline("export HOME=/tmp", check{"signed", true, "bash $verify --http --root root.pem --no-timestamp " + images[0]})
	})
}

// TestNotationMissingIssuer: where the service does not tell the chain, the plugin names the issuer; a file completes it.
func TestNotationMissingIssuer(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "notation", form: "chain-file", key: "demo/p-256"}), func(w *workplace) {
		images := w.registryFor(1)
		w.roots("root.pem", "stranger.pem")
		if got := w.tool("bash", "-c", "signkit certificate demo/p-256 --chain >chain.pem"); got.code != 0 {
			w.Fatalf("signkit certificate ended with %d", got.code)
		}
		w.service.fail(w.T, fault{Route: "certificate", Kind: "status", Status: 403, Count: -1})
		sign := []string{samplesInImage + "/notation/sign.sh", "--http", "--no-timestamp", w.key, images[0]}
		got := w.with(sign...)
		if got.code == 0 || !strings.Contains(got.stderr, "CN=Mock Signing Intermediate CA 1") ||
			!strings.Contains(got.stderr, "SIGNKIT_CERTIFICATE_CHAIN_FILE") {
			w.Errorf("ended with %d", got.code)
		}
		w.more = []string{"SIGNKIT_CERTIFICATE_CHAIN_FILE=" + w.inside("chain.pem")}
		w.signMounted(sign[1:]...)
		w.judgeOnline("export HOME=/tmp", check{"signed", true, "bash $verify --http --root root.pem --no-timestamp " + images[0]})
	})
}

// TestNotationAuthorities: the next time-stamp authority is asked when one fails or does not answer.
func TestNotationAuthorities(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "notation", form: "tsa-error", key: "demo/p-256"}), func(w *workplace) {
		images := w.registryFor(1)
		w.roots("root.pem", "stranger.pem")
		good := "https://" + w.service.relay.address + "/tsa"
		w.service.fail(w.T, fault{Route: "tsa", Kind: "status", Status: 503}, fault{Route: "tsa", Kind: "hang"})
		w.signMounted("--http", "--tsa-root", "root.pem", "--tsa", "http://127.0.0.1:1/", "--tsa", good, "--tsa", good, "--tsa", good, w.key, images[0])
		w.judgeOnline("export HOME=/tmp", check{"signed", true, "bash $verify --http --root root.pem " + images[0]})
	})
}

func TestNotationSignsOnce(t *testing.T) {
	need(t).signsOnce(t, "notation", func(w *workplace) []string {
		w.roots("root.pem", "stranger.pem")
		return []string{"--http", "--tsa-root", "root.pem", w.key, w.registryFor(1)[0]}
	})
}

func TestNotationFailures(t *testing.T) {
	s := need(t)
	s.fails(t, "notation", "", func(w *workplace) (arguments func(key string) []string, kept func()) {
		images := w.registryFor(1)
		w.roots("root.pem", "stranger.pem")
		return func(key string) []string { return []string{"--http", "--tsa-root", "root.pem", key, images[0]} }, func() {
			w.judgeOnline("export HOME=/tmp", check{"signed", false, "bash $verify --http --root root.pem --no-timestamp " + images[0]})
		}
	})
}
