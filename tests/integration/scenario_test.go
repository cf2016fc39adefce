package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// vendorLines are documented command lines of the vendor's script, without the credentials and the image that each gets. FILE is
// one that the vendor's script brings along.
var vendorLines = []struct{ line, policy, leaves string }{
	{"-Scenario OpenSSL", "rsa-3072", "signkit-sample.txt.sig"},
	{"-Scenario OpenSSL -OpenSslDgst", "p-256", "signkit-sample.txt.sig"},
	{"-Scenario Pkcs11Tool", "rsa-3072", "signkit-sample.txt.sig"},
	{"-scenario pkcs11tool", "p-256", "signkit-sample.txt.sig"},
	{"-Scenario GpgSignFile", "gpg-rsa-4096", "signkit-sample.txt.asc"},
	{"-Scenario SignRpm dist/demo.rpm", "gpg-rsa-4096", ""},
	{"-Scenario SignDeb dist/demo.deb", "gpg-rsa-4096", ""},
	{"-Scenario osslsigncode dist/program.exe", "rsa-3072", ""},
	{"-Scenario JarSigner dist/demo.jar", "rsa-3072", ""},
}

// TestVendorLines runs them through scripts/run-scenario.sh, as the user of this process.
func TestVendorLines(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[:1], cell{sample: "jarsigner", form: "and-vendor-lines"}), func(w *workplace) {
		w.windowsFiles("program")
		w.jar("demo.jar")
		if got := w.tool("bash", "-euo", "pipefail", "-c", packages+"chmod -R a+rwX ."); got.code != 0 {
			w.Fatalf("preparing the files ended with %d", got.code)
		}
		w.certificates("rsa-3072.pem", "demo/rsa-3072")
		w.certificates("p-256.pem", "demo/p-256")
		w.roots("root.pem", "stranger.pem")
		for _, v := range vendorLines {
			words := append(strings.Fields(v.line), "-OrganizationId", w.service.setting("SIGNPATH_ORGANIZATION_ID"),
				"-ApiToken", w.service.setting("SIGNPATH_API_TOKEN"), "-ProjectSlug", "demo", "-SigningPolicySlug", v.policy,
				"-Image", w.image.tag(w.sample))
			before := w.content(words)
			got := w.runScenario(nil, words...)
			if got.code != 0 {
				w.Errorf("%s: ended with %d", v.line, got.code)
				continue
			}
			if !strings.Contains(got.stderr, "warning: -ApiToken shows the token in the list of processes") {
				w.Errorf("%s: no warning about the token", v.line)
			}
			if after := w.content(words); v.leaves == "" && after == before {
				w.Errorf("%s: the file has not changed", v.line)
			}
			w.checkLeft(v.leaves, v.policy)
		}
	})
}

// content is that of the file that a line names, if it names one.
func (w *workplace) content(words []string) string {
	text, err := os.ReadFile(filepath.Join(w.dir, words[2]))
	if err != nil {
		return ""
	}
	return string(text)
}

// checkLeft verifies the signature that openssl or pkcs11-tool has left, through run-scenario.sh, too, and removes it.
func (w *workplace) checkLeft(name, policy string) {
	w.Helper()
	if name == "" {
		return
	}
	if text, err := os.ReadFile(filepath.Join(w.dir, name)); err != nil || len(text) == 0 {
		w.Errorf("there is no signature %s", name)
	}
	if strings.HasSuffix(name, ".sig") {
		verify := []string{"--scenario", "openssl", "--image", w.image.plain(), "--verify", "--root", "root.pem", policy + ".pem"}
		if got := w.runScenario(nil, append(verify, "signkit-sample.txt")...); got.code != 0 {
			w.Errorf("verifying ended with %d", got.code)
		}
		if got := w.runScenario(nil, append(verify, "root.pem", name)...); got.code == 0 {
			w.Error("the signature is good for another file")
		}
	}
	if err := os.Remove(filepath.Join(w.dir, name)); err != nil {
		w.Error(err)
	}
}

// runScenario runs scripts/run-scenario.sh in the work folder, on this machine, with the service's address and authority.
func (w *workplace) runScenario(env []string, arguments ...string) result {
	w.Helper()
	command := exec.Command(absolute(w.T, "scripts", "run-scenario.sh"), arguments...)
	command.Dir = w.dir
	command.Env = append(os.Environ(), "SIGNPATH_API_URL=https://"+w.service.relay.address+"/Api",
		"SIGNKIT_TSA_URL=https://"+w.service.relay.address+"/tsa", "SIGNKIT_CA_FILE="+w.service.caFile())
	command.Env = append(command.Env, env...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.Fatal(err)
	}
	r := result{command.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	w.Cleanup(func() {
		if w.Failed() {
			line := strings.ReplaceAll(strings.Join(arguments, " "), w.service.setting("SIGNPATH_API_TOKEN"), "…")
			w.Logf("run-scenario.sh %s\nexit code %d\n%s%s", line, r.code, r.stdout, r.stderr)
		}
	})
	return r
}

// TestScenarioOutsideContainers: on a machine with the tools, here one of the images, --image none runs the sample itself.
func TestScenarioOutsideContainers(t *testing.T) {
	s := need(t)
	s.each(t, s.inAll(users[1:2], cell{sample: "openssl", form: "no-container", key: "demo/p-256"}), func(w *workplace) {
		w.write("file", "hello\n")
		got := s.run(w.T, container{
			image: w.image.tag(w.sample), user: w.user, network: true, env: w.service.settings(),
			binds: append(w.service.binds(), w.dir+":/work", absolute(w.T, "scripts")+":/repository/scripts:ro",
				absolute(w.T, "samples")+":/repository/samples:ro"),
			command: []string{"/repository/scripts/run-scenario.sh", "--scenario", "openssl", "--image", "none",
				"--project-slug", "demo", "--signing-policy-slug", "p-256", "file", "--", "--form", "cms"},
		})
		if got.code != 0 {
			w.Fatalf("ended with %d", got.code)
		}
		w.certificates("chain.pem", w.key)
		w.roots("root.pem", "stranger.pem")
		w.judge(w.image.plain(), "", check{"signed", true, "bash $verify --form cms --root root.pem chain.pem file"})
	})
}

// TestScenarioKeepsSecrets: what docker is called with shows no token, and has every setting and the files that they name.
func TestScenarioKeepsSecrets(t *testing.T) {
	bin, work := t.TempDir(), t.TempDir()
	const fake = "#!/bin/sh\nprintf '%s\\n' \"$@\" >\"$(dirname \"$0\")/arguments\"\n"
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "secret"} {
		if err := os.WriteFile(filepath.Join(work, name), []byte("canary-in-file"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.Command(absolute(t, "scripts", "run-scenario.sh"), "-Scenario", "openssl", "--project_slug", "p",
		"-SIGNINGPOLICYSLUG", "s", "--api-token", "canary-in-argument", "--Api-Token-File", "secret", "file", "--", "--form", "pss")
	command.Dir = work
	command.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "SIGNKIT_DESCRIPTION=a release", "HOME=" + work}
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(bin, "arguments"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "canary") {
		t.Errorf("docker's arguments show the token:\n%s", text)
	}
	for _, want := range []string{
		"--env\nSIGNPATH_API_TOKEN\n", "--env\nSIGNKIT_DESCRIPTION\n", "--env\nSIGNPATH_API_TOKEN_FILE=/run/signkit/SIGNPATH_API_TOKEN_FILE\n",
		filepath.Join(work, "secret") + ":/run/signkit/SIGNPATH_API_TOKEN_FILE:ro\n",
		"signkit:debian-13\n/usr/share/signkit/samples/openssl/sign.sh\n--form\npss\np/s\nfile\n",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("docker's arguments lack %q:\n%s", want, text)
		}
	}
}
