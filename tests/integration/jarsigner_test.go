package integration

import (
	"archive/zip"
	"bytes"
	"slices"
	"strings"
	"testing"
)

// jar writes an unsigned JAR file.
func (w *workplace) jar(name string) {
	w.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for file, text := range map[string]string{
		"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\r\n\r\n", "hello.txt": "hello " + w.Name() + "\n",
	} {
		f, err := z.Create(file)
		if err != nil {
			w.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			w.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		w.Fatal(err)
	}
	w.write(name, b.String())
}

// TestJarsigner signs two JAR files, and verifies them in a JDK that knows the root and nothing else of the signer.
func TestJarsigner(t *testing.T) {
	s := need(t)
	cells := append(s.inAll(twoUsers, cell{sample: "jarsigner", key: "demo/p-256"}),
		s.inAll(users[:1], cell{sample: "jarsigner", key: "demo/rsa-3072"}, cell{sample: "jarsigner", key: "demo/p-521"})...)
	s.each(t, cells, func(w *workplace) {
		w.jar("one.jar")
		w.jar("two.jar")
		w.jar("unsigned.jar")
		w.jar("bare.jar")
		w.service.clearRequests(w.T)
		w.sign(w.key, "one.jar", "two.jar")
		// Certificate and chain for the script; then for each file a time-stamp to see that the authority gives one, and policy,
		// chain, signature and time-stamp.
		w.service.wantRequests(w.T, 4+2*7, 1+2*3)
		w.roots("root.pem", "stranger.pem")
		verify := "bash $verify --root root.pem "
		if w.user != users[0] || w.key != "demo/p-256" { // who signed, and with which key, makes no difference to the rest
			w.judge(w.image.verifier(w.sample), "",
				check{"signed", true, verify + "one.jar two.jar"}, check{"unsigned", false, verify + "unsigned.jar"},
				check{"wrong root", false, "bash $verify --root stranger.pem one.jar"})
			return
		}
		w.sign("--no-timestamp", w.key, "bare.jar")
		w.judge(w.image.verifier(w.sample), `
cp one.jar tampered.jar; echo hallo >hello.txt; jar uf tampered.jar hello.txt
cp one.jar added.jar; echo more >more.txt; jar uf added.jar more.txt`,
			check{"signed", true, verify + "one.jar two.jar"},
			check{"unsigned", false, verify + "unsigned.jar"},
			check{"tampered", false, verify + "tampered.jar"},
			check{"entry added", false, verify + "added.jar"},
			check{"wrong root", false, "bash $verify --root stranger.pem one.jar"},
			check{"wrong root of the signature", false, "bash $verify --root stranger.pem --tsa-root root.pem unsigned.jar"},
			check{"no time-stamp", false, verify + "bare.jar"},
			check{"no time-stamp wanted", true, verify + "--no-timestamp bare.jar"},
			check{"time-stamp of 10 years", true, verify + "one.jar 2>&1 | awk '/about 10 years/ { found = 1 } END { exit found }'"},
			check{"time-stamp that lives too short", true, verify + "--tsa-years 11 one.jar 2>&1 | grep 'about 10 years'"},
		)
	})
}

// TestJarsignerAuthorities: the next time-stamp authority is asked when one refuses connections, fails, answers nonsense, or does
// not answer for longer than the script says, which is shortened here.
func TestJarsignerAuthorities(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "jarsigner", form: "tsa-fails", key: "demo/p-256"}), func(w *workplace) {
		w.jar("file.jar")
		w.service.fail(w.T, fault{Route: "tsa", Kind: "status", Status: 503}, fault{Route: "tsa", Kind: "html"}, fault{Route: "tsa", Kind: "hang"})
		const impatient = `grep -q Timeout=60000 "$0" && sed s/Timeout=60000/Timeout=5000/ "$0" >/tmp/sign.sh && exec bash /tmp/sign.sh "$@"`
		arguments := append([]string{"bash", "-c", impatient, samplesInImage + "/jarsigner/sign.sh", "--tsa", "http://127.0.0.1:1/"}, w.authorities(4)...)
		if got := w.tool(append(arguments, w.key, "file.jar")...); got.code != 0 {
			w.Fatalf("sign.sh ended with %d", got.code)
		}
		w.wantStampRequests(4 + 1)
		w.roots("root.pem", "stranger.pem")
		w.judge(w.image.verifier(w.sample), "", check{"signed", true, "bash $verify --root root.pem file.jar"})
	})
}

// authorities are options that name the service's time-stamp authority a number of times.
func (w *workplace) authorities(number int) []string {
	return slices.Repeat([]string{"--tsa", "https://" + w.service.relay.address + "/tsa"}, number)
}

// wantStampRequests checks how often the service was asked for a time-stamp: by signkit tsa once for each of its faults, and once for
// the good one; then by the tool.
func (w *workplace) wantStampRequests(want int) {
	w.Helper()
	list := slices.DeleteFunc(w.service.requests(w.T), func(r request) bool { return !strings.HasSuffix(r.Path, "/tsa") })
	if len(list) != want {
		w.Errorf("%d time-stamps were asked for, want %d: %+v", len(list), want, list)
	}
}

// TestJarsignerWithoutRightToReadTheChain signs all the same; what the service does not tell comes from a file.
func TestJarsignerWithoutRightToReadTheChain(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "jarsigner", form: "chain-file", key: "demo/p-256"}), func(w *workplace) {
		w.jar("leaf.jar")
		w.jar("full.jar")
		got := w.tool("bash", "-c", "signkit certificate demo/p-256 --chain >chain.pem")
		if got.code != 0 {
			w.Fatalf("signkit certificate ended with %d", got.code)
		}
		w.service.fail(w.T, fault{Route: "certificate", Kind: "status", Status: 403, Count: -1})
		w.sign(w.key, "leaf.jar")
		w.more = []string{"SIGNKIT_CERTIFICATE_CHAIN_FILE=" + w.inside("chain.pem")}
		w.sign(w.key, "full.jar")
		w.roots("root.pem", "stranger.pem")
		w.judge(w.image.verifier(w.sample), "",
			check{"full", true, "bash $verify --root root.pem full.jar"},
			check{"leaf only", false, "bash $verify --root root.pem leaf.jar"},
		)
	})
}

func TestJarsignerFailures(t *testing.T) {
	need(t).fails(t, "jarsigner", "-storepass CONFIG", unsignedJAR)
}

func TestJarsignerSignsOnce(t *testing.T) {
	need(t).signsOnce(t, "jarsigner", func(w *workplace) []string {
		w.jar("file.jar")
		return []string{w.key, "file.jar"}
	})
}

// unsignedJAR prepares a file that sign.sh must leave as it is.
func unsignedJAR(w *workplace) (arguments func(key string) []string, kept func()) {
	w.jar("file.jar")
	w.duplicate("file.jar", "original.jar")
	return func(key string) []string { return []string{key, "file.jar"} }, func() {
		w.sameAs("file.jar", "original.jar")
		w.missing("file.jar.part")
	}
}
