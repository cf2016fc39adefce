package integration

import (
	"strings"
	"testing"
)

// TestDoctor: in every image, as root and as another user, doctor finds nothing to mend in a set-up that signs; it does find what only a
// container can lack. No output shows the token.
func TestDoctor(t *testing.T) {
	s := need(t)
	for name, test := range map[string]struct {
		env      []string
		prepare  string // shell that breaks something
		all      bool   // no key is named, so that tools matter
		want     []string
		problems bool
	}{
		"healthy": {want: []string{"token: accepted", "demo/gpg-p-256 signature: made and verified", "keys are found by name", "bridge: "}},
		"no-ca":   {env: []string{"SIGNKIT_CA_FILE="}, problems: true, want: []string{"PROBLEM  connection: ", "SIGNKIT_CA_FILE"}},
		"no-token-process": {
			prepare:  "mkdir /tmp/lib && cp /usr/lib/signkit/libsignkit-pkcs11.so /tmp/lib && export SIGNKIT_TOKEND=/tmp/lib/none; ",
			problems: true, want: []string{"PROBLEM  module: ", "signkit-tokend, of the same version, belongs beside the module"},
		},
		"no-way-into-openssl": {
			env: []string{"SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=gpg-p-256"}, all: true,
			prepare:  "export OPENSSL_ENGINES=/nowhere OPENSSL_MODULES=/nowhere; ",
			problems: true, want: []string{"PROBLEM  openssl: ", "install libengine-pkcs11-openssl or pkcs11-provider"},
		},
		"tool-of-no-matter": {
			prepare: "export OPENSSL_ENGINES=/nowhere OPENSSL_MODULES=/nowhere; ",
			want:    []string{"note     openssl: ", "install libengine-pkcs11-openssl or pkcs11-provider"},
		},
		"no-gpg": {
			prepare:  "mkdir /tmp/bin && ln -s $(command -v sh openssl) /tmp/bin && export PATH=/tmp/bin; ",
			problems: true, want: []string{"PROBLEM  gpg: not installed", "install the packages gpg"},
		},
	} {
		as := users[1:2]
		if name == "healthy" {
			as = twoUsers
		}
		s.each(t, s.inAll(as, cell{sample: "jarsigner", form: "doctor-" + name}), func(w *workplace) {
			w.more = test.env
			command := "/usr/bin/signkit doctor --sign"
			if !test.all {
				command += " demo/gpg-p-256"
			}
			got := w.tool("bash", "-c", test.prepare+command)
			if test.problems != (got.code == 7) || !test.problems && (got.code != 0 || strings.Contains(got.stdout, "PROBLEM")) {
				w.Errorf("ended with %d", got.code)
			}
			for _, want := range test.want {
				if !strings.Contains(got.stdout, want) {
					w.Errorf("does not say %q", want)
				}
			}
			if strings.Contains(got.stdout+got.stderr, w.service.setting("SIGNPATH_API_TOKEN")) {
				w.Error("the output shows the token")
			}
		})
	}
}
