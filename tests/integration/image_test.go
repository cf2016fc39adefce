package integration

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestImage checks what CI systems and scripts rely on in every image.
func TestImage(t *testing.T) {
	s := need(t)
	for _, img := range s.images {
		t.Run(img.Name, func(t *testing.T) {
			inspected, err := s.pool.Client.InspectImage(img.tool())
			if err != nil {
				t.Fatal(err)
			}
			c := inspected.Config
			if len(c.Entrypoint) != 0 || !slices.Equal(c.Cmd, []string{"bash"}) || c.User != "" {
				t.Errorf("entry point %q, command %q, user %q; want none, bash, none", c.Entrypoint, c.Cmd, c.User)
			}
			for _, v := range c.Env {
				if name, _, _ := strings.Cut(v, "="); name == "HOME" || strings.Contains(name, "TOKEN") {
					t.Errorf("the image sets %s", name)
				}
			}
			if c.Labels["org.opencontainers.image.version"] == "" {
				t.Error("the image has no version label")
			}
		})
		t.Run(img.Name+"/files", func(t *testing.T) {
			got := s.run(t, container{image: img.tool(), user: users[1], command: []string{"bash", "-c",
				`cd /usr/lib/signkit && readlink libSignPath.Cryptoki.so && test -r libsignkit-pkcs11.so -a -x signkit-tokend &&
				cat /etc/signkit/openssl-*.cnf /usr/share/p11-kit/modules/signkit.module >/dev/null && for c in tail id getent useradd su curl; do command -v $c; done`}})
			if got.code != 0 || !strings.HasPrefix(got.stdout, filepath.Base(moduleInImage)+"\n") {
				t.Errorf("ended with %d", got.code)
			}
		})
	}
}

// TestConfigurationFiles: with the ready OPENSSL_CONF, openssl's own command line names no module and no PIN.
func TestConfigurationFiles(t *testing.T) {
	s := need(t)
	arguments := map[string]string{"engine": "-engine pkcs11 -keyform engine", "provider": ""}
	for _, img := range s.images {
		for _, via := range img.OpenSSL {
			t.Run(img.Name+"/root/"+via, func(t *testing.T) {
				s.report.note(t, outcome{Scenario: "openssl-conf-" + via, Image: img.Name, Key: "demo/p-256", User: "root"})
				s.service.clearRequests(t)
				got := s.run(t, container{
					image: img.tool(), network: true, binds: s.service.binds(),
					env: s.service.settings("OPENSSL_CONF=/etc/signkit/openssl-"+via+".cnf", "PKCS11_MODULE_PATH=", "PKCS11_PROVIDER_MODULE="),
					command: []string{"bash", "-c", `set -e; cd /tmp; echo hello >file; openssl dgst ` + arguments[via] +
						` -sha256 -sign 'pkcs11:object=demo%2Fp-256;type=private' -out sig file; test -s sig`},
				})
				if got.code != 0 {
					t.Errorf("ended with %d", got.code)
				}
				s.service.wantRequests(t, 2)
			})
		}
	}
}
