package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signkit/internal/config"
)

func TestOldToolsAreNamed(t *testing.T) {
	for _, c := range []struct {
		tool, prints string
		state        State
		text         string
	}{
		{"osslsigncode", "osslsigncode 2.12, using:", Warning, "version 2.12"},
		{"osslsigncode", "osslsigncode 2.13, using:", OK, "version 2.13"},
		{"osslsigncode", "osslsigncode 3.0, using:", OK, "version 3.0"},
		{"rpm", "RPM version 4.18.2", Warning, "cannot check ECDSA"},
		{"rpm", "RPM version 4.20.1", OK, "version 4.20"},
		{"rpm", "RPM version 6.0.0", OK, "version 6.0"},
		{"cosign", "This cosign was not built with pkcs11-tool support!", Problem, "without PKCS#11"},
	} {
		e, found := recorded(Patient{Environ: fakeTools(t, map[string]string{c.tool: c.prints})})
		e.toolVersions(t.Context())
		ok := false
		for _, f := range *found {
			ok = ok || f.Subject == c.tool && f.State == c.state && strings.Contains(f.Text, c.text)
		}
		if !ok {
			t.Errorf("%s (%s): %+v", c.tool, c.prints, *found)
		}
	}
}

// TestToolsAreNotedWhereAKeyIsAskedAbout: one that cannot sign is no fault of the key's.
func TestToolsAreNotedWhereAKeyIsAskedAbout(t *testing.T) {
	tools := map[string]string{
		"cosign": "This cosign was not built with pkcs11-tool support!",
		"rpm":    "/nowhere/bin/gpg2",
	}
	for named, state := range map[bool]State{false: Problem, true: Note} {
		environ := fakeTools(t, tools)
		openssl := filepath.Join(os.Getenv("PATH"), "openssl") // which has no engine and no provider
		if err := os.WriteFile(openssl, []byte("#!/bin/sh\n[ $1 = version ] && echo OpenSSL 3.0.19\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		e, found := recorded(Patient{Environ: environ, Named: named})
		e.openssl(t.Context())
		e.toolVersions(t.Context())
		states := map[string]State{}
		for _, f := range *found {
			states[f.Subject] = f.State
			if f.State != OK && f.Fix == "" {
				t.Errorf("%+v says not what to do", f)
			}
		}
		for _, subject := range []string{"openssl", "cosign", "rpmsign"} {
			if states[subject] != state {
				t.Errorf("a key asked about: %v: %s is a %q, want %q", named, subject, states[subject], state)
			}
		}
	}
}

// TestRPMWithSequoiaChecksECDSA as RHEL 10's does, whatever its version.
func TestRPMWithSequoiaChecksECDSA(t *testing.T) {
	e, found := recorded(Patient{Environ: fakeTools(t, map[string]string{
		"rpm": "RPM version 4.19.1.1", "rpmkeys": "", "ldd": "librpm_sequoia.so.1 => /lib64/librpm_sequoia.so.1",
	})})
	e.rpm(t.Context())
	if f := one(t, *found); f.State != OK || !strings.Contains(f.Text, "4.19.1.1") {
		t.Errorf("%+v", f)
	}
}

func TestMacroThatNamesNoGPGIsAProblem(t *testing.T) {
	for prints, problem := range map[string]bool{
		"/nowhere/bin/gpg2": true,
		"/bin/sh":           false,
		"%{__gpg}":          false, // the macro is not set
	} {
		e, found := recorded(Patient{Environ: fakeTools(t, map[string]string{"rpm": prints})})
		e.toolVersions(t.Context())
		named := false
		for _, f := range *found {
			named = named || f.Subject == "rpmsign" && f.State == Problem && strings.Contains(f.Text, prints)
		}
		if named != problem {
			t.Errorf("%s: %+v", prints, *found)
		}
	}
}

func TestToolsThatOpenReadWriteSessionsAreNamed(t *testing.T) {
	for _, c := range []struct {
		tool, prints string
		allowed      bool
		warned       bool
	}{
		{"pkcs11-tool", "OpenSC 0.21.0", false, true},
		{"pkcs11-tool", "OpenSC 0.21.0", true, false},
		{"pkcs11-tool", "OpenSC 0.22.0", false, false},
		{"cosign", "", false, true},
		{"cosign", "", true, false},
	} {
		environ := fakeTools(t, map[string]string{c.tool: c.prints})
		e, found := recorded(Patient{Environ: environ, Config: &config.Config{AllowReadWriteSessions: c.allowed}})
		e.readWriteTools(t.Context())
		if !c.warned && len(*found) == 0 {
			continue
		}
		if f := one(t, *found); !c.warned || f.Subject != c.tool || f.State != Warning {
			t.Errorf("%+v: %+v", c, f)
		}
	}
}
