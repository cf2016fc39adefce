package integration

import (
	"strings"
	"testing"
)

// openPGPScenarios are what testdata/openpgp-sign.sh signs where the release has what it needs.
func openPGPScenarios(i image) []string {
	list := []string{"gpg-detached", "gpg-clear", "gpg-inline", "rpm-add", "rpm-v3", "rpm-replace", "yum-repository", "git-tag", "git-commit"}
	if _, found := i.Variant("deb"); found {
		list = append(list, "deb-debsigs", "apt-repository")
	}
	if i.Installs("dpkg-sig") {
		list = append(list, "deb-dpkg-sig")
	}
	return list
}

// TestOpenPGP signs files, packages, repositories, tags and commits with the samples, as every kind of user, two with either key,
// and lets the tools judge them in a container that has public keys only. All scenarios of a cell share two containers.
func TestOpenPGP(t *testing.T) {
	s := need(t)
	rsa := s.inAll(twoUsers, cell{sample: "git", form: "and-packages", key: "demo/gpg-rsa-4096"})
	ec := s.inAll(users[1:3], cell{sample: "git", form: "and-packages", key: "demo/gpg-p-256"})
	s.each(t, append(rsa, ec...), signAndJudgeOpenPGP)
}

func signAndJudgeOpenPGP(w *workplace) {
	other := "demo/gpg-p-256"
	if w.key == other {
		other = "demo/gpg-rsa-4096"
	}
	signed := w.setup.run(w.T, container{
		image: w.image.tag(w.sample), user: w.user, network: true, env: w.service.settings(),
		binds:   append(w.service.binds(), absolute(w.T, "tests", "integration", "testdata", "openpgp-sign.sh")+":/sign.sh:ro"),
		dir:     w.dir,
		command: []string{"bash", "/sign.sh", w.key, other},
	})
	if signed.code != 0 {
		w.Fatalf("the script that signs ended with %d", signed.code)
	}
	judged := w.setup.run(w.T, container{
		image: w.image.verifier(w.sample),
		binds: []string{
			absolute(w.T, "tests", "integration", "testdata", "openpgp-verify.sh") + ":/verify.sh:ro", samplesForVerifiers(w.T),
		},
		dir:     w.dir,
		command: []string{"bash", "/verify.sh"},
	})
	if judged.code != 0 {
		w.Errorf("the script that judges ended with %d", judged.code)
	}
	statuses, verdicts := table(signed.stdout), table(judged.stdout)
	for _, scenario := range openPGPScenarios(w.image) {
		w.Run(scenario, func(t *testing.T) {
			w.setup.report.note(t, outcome{Scenario: scenario, Image: w.image.Name, Key: w.key, User: w.user.name})
			if strings.HasPrefix(scenario, "rpm-") && w.key == "demo/gpg-p-256" && !w.image.RPMECDSA {
				refusedBeforeSigning(t, statuses, signed.stderr, scenario)
				return
			}
			if got := statuses[scenario]; got != "0" {
				t.Errorf("sign.sh ended with %q", got)
			}
			for check, want := range map[string]string{"signed": "0", "unsigned": "1", "tampered": "1", "wrong-key": "1"} {
				if got := verdicts[scenario+" "+check]; got != want {
					t.Errorf("%s: verdict %q, want %q", check, got, want)
				}
			}
			for _, extra := range extraOpenPGPChecks {
				if extra.scenario == scenario && verdicts[extra.check] != extra.want {
					t.Errorf("%s: verdict %q, want %q", extra.check, verdicts[extra.check], extra.want)
				}
			}
		})
	}
	for _, scenario := range []string{"no-sample", "no-sample-elsewhere"} {
		w.Run(scenario, func(t *testing.T) { judgePlain(t, w, scenario, statuses, verdicts) })
	}
}

// extraOpenPGPChecks are those of testdata/openpgp-verify.sh that one scenario has.
var extraOpenPGPChecks = []struct{ scenario, check, want string }{
	{"apt-repository", "apt-repository installed", "0"}, // by apt itself, from the signed repository
	{"rpm-add", "rpm-add-second signed", "0"},           // the second of two packages of one call
	{"rpm-add", "rpm-add both", "1"},
	{"rpm-v3", "rpm-v3 both", "0"},             // a signature of the header, and one of header and payload
	{"deb-debsigs", "deb-debsigs strong", "0"}, // not SHA-1, as debsigs of Debian 11 and 12 asks for
}

// judgePlain is about the tools' own commands after the one line that prepares the shell.
func judgePlain(t *testing.T, w *workplace, scenario string, statuses, verdicts map[string]string) {
	w.setup.report.note(t, outcome{Scenario: "openpgp-" + scenario, Image: w.image.Name, Key: w.key, User: w.user.name})
	want := map[string]string{"gpg": "0", "gpg-wrong-key": "1", "git": "0", "git-wrong-key": "1", "rpmsign": "0"}
	if _, found := w.image.Variant("deb"); found {
		want["debsigs"], want["debsigs-strong"] = "0", "0"
	}
	status := "0"
	if w.key == "demo/gpg-p-256" && !w.image.RPMECDSA {
		want["rpmsign"], status = "1", "1" // these rpm releases refuse what they have signed
	}
	if statuses[scenario] != status {
		t.Errorf("the commands ended with %q, want %q", statuses[scenario], status)
	}
	for check, want := range want {
		if got := verdicts[scenario+" "+check]; got != want {
			t.Errorf("%s: verdict %q, want %q", check, got, want)
		}
	}
}

// refusedBeforeSigning: these rpm releases would sign with an EC key and then refuse their own package.
func refusedBeforeSigning(t *testing.T, statuses map[string]string, stderr, scenario string) {
	t.Helper()
	if statuses[scenario] != "1" || !strings.Contains(stderr, "choose a policy with an RSA key") {
		t.Errorf("sign.sh ended with %q, and should have asked for an RSA key", statuses[scenario])
	}
}

// TestWarmGPGMakesOneRequest: the bridge has the key from set-up, and its connection from the signature before.
func TestWarmGPGMakesOneRequest(t *testing.T) {
	s := need(t)
	const script = `
setup=$(signkit gpg init demo/gpg-rsa-4096) && eval "$setup"
echo content >file
for i in 1 2 3; do gpg --batch --yes -u "$GPG_KEY_ID" --armor --detach-sign file; done
`
	s.each(t, s.inAll(users[1:2], cell{sample: "gpg", form: "warm", key: "demo/gpg-rsa-4096"}), func(w *workplace) {
		first := w.tool("bash", "-euo", "pipefail", "-c", script)
		if first.code != 0 {
			w.Fatalf("ended with %d", first.code)
		}
		// Set-up asks for the policy and its public key; then each signature is one request.
		w.service.wantRequests(w.T, 2+3, 2)
	})
}

// TestFailedGPGSpeaks: no permission, a refused token, an outage; the cause is on stderr, and no file is left.
func TestFailedGPGSpeaks(t *testing.T) {
	s := need(t)
	for name, test := range map[string]struct {
		settings []string
		fault    *fault
		want     string
	}{
		"refused-token":  {[]string{"SIGNPATH_API_TOKEN=wrong-token-canary"}, nil, "401"},
		"nobody-there":   {[]string{"SIGNPATH_API_URL=https://127.0.0.1:1/Api", "SIGNPATH_TIMEOUTS_RETRY_COUNT=0"}, nil, "refused"},
		"no-credentials": {[]string{"SIGNPATH_API_TOKEN="}, nil, "SIGNPATH_API_TOKEN"},
		"no-permission":  {nil, &fault{Route: "sign", Kind: "status", Status: 403, Count: -1}, "403"},
		"wrong-answer":   {nil, &fault{Route: "sign", Kind: "wrong-signature", Count: -1}, "does not verify"},
	} {
		s.each(t, s.inAll(users[1:2], cell{sample: "gpg", form: name, key: "demo/gpg-rsa-4096"}), func(w *workplace) {
			w.more = test.settings
			w.write("file", "content\n")
			if test.fault != nil {
				w.service.fail(w.T, *test.fault)
			}
			got := w.script("sign.sh", w.key, "file")
			if got.code == 0 || !strings.Contains(got.stderr, test.want) {
				w.Errorf("ended with %d, and stderr should hold %q", got.code, test.want)
			}
			if strings.Contains(got.stderr+got.stdout, "wrong-token-canary") {
				w.Error("the token is in the output")
			}
			w.missing("file.asc")
			w.missing("file.asc.part")
		})
	}
}

// TestFailedPackagesSpeak: with every sample the service's refusal is on stderr, the exit status is 1, and what was to be
// signed is as before, with no signature beside it.
func TestFailedPackagesSpeak(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[1:2], cell{sample: "git", form: "and-packages-fail", key: "demo/gpg-rsa-4096"}), func(w *workplace) {
		w.service.fail(w.T, fault{Route: "sign", Kind: "status", Status: 403, Count: -1})
		got := w.setup.run(w.T, container{
			image: w.image.tag(w.sample), user: w.user, network: true, env: w.service.settings(),
			binds:   append(w.service.binds(), absolute(w.T, "tests", "integration", "testdata", "openpgp-sign.sh")+":/sign.sh:ro"),
			dir:     w.dir,
			command: []string{"bash", "-c", `bash /sign.sh "$@" && ` + unsigned, "sign.sh", w.key, "demo/gpg-p-256"},
		})
		if got.code != 0 {
			w.Fatalf("ended with %d", got.code)
		}
		statuses, said := table(got.stdout), sections(got.stderr)
		for _, scenario := range openPGPScenarios(w.image) {
			if statuses[scenario] != "1" {
				w.Errorf("%s: sign.sh ended with %q", scenario, statuses[scenario])
			}
			if text := said[scenario]; !strings.Contains(text, "403") {
				w.Errorf("%s: stderr does not have the bridge's record:\n%s", scenario, text)
			}
			if strings.Contains(said[scenario], w.service.setting("SIGNPATH_API_TOKEN")) {
				w.Errorf("%s: the output shows the token", scenario)
			}
		}
	})
}

// unsigned ends with 0 if nothing that openpgp-sign.sh was to sign is signed, or half signed.
const unsigned = `
cmp rpm/demo-one.rpm rpm/unsigned.rpm && cmp rpm/both.rpm rpm/unsigned.rpm && cmp rpm/replaced.rpm rpm/unsigned.rpm &&
{ test ! -e deb || cmp deb/demo.deb deb/unsigned.deb && cmp deb/builder.deb deb/unsigned.deb; } &&
! git -C repository rev-parse --quiet --verify v1 && test "$(git -C repository log -1 --format=%s)" = unsigned &&
test -z "$(find . -name '*.part' -o -name '*.asc' -not -name public.asc -not -name other.asc -o -name '*.sig' -o -name '*.gpg' -o -name InRelease)"`

// sections cuts what openpgp-sign.sh writes to stderr at its "--- SCENARIO" lines.
func sections(text string) map[string]string {
	said := map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		if next, found := strings.CutPrefix(line, "--- "); found {
			name = strings.TrimSpace(next)
			continue
		}
		said[name] += line
	}
	return said
}

// table reads lines whose last word is the value of the words before.
func table(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if i := strings.LastIndexByte(line, ' '); i > 0 {
			values[line[:i]] = line[i+1:]
		}
	}
	return values
}
