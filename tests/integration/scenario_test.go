package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// vendorLines are documented command lines of the vendor's script, without the credentials and the image that each gets, and how
// --verify is then called. Without a file, the vendor's script signs one that it brings along.
var vendorLines = []struct{ line, policy, leaves, verify string }{
	{"-Scenario OpenSSL", "rsa-3072", "signkit-sample.txt.sig", "openssl --root root.pem rsa-3072.pem signkit-sample.txt"},
	{"-Scenario OpenSSL -OpenSslDgst", "p-256", "signkit-sample.txt.sig", "openssl --root root.pem p-256.pem signkit-sample.txt"},
	{"-Scenario Pkcs11Tool", "rsa-3072", "signkit-sample.txt.sig", "pkcs11-tool --root root.pem rsa-3072.pem signkit-sample.txt"},
	{"-scenario pkcs11tool", "p-256", "signkit-sample.txt.sig", "pkcs11-tool --root root.pem p-256.pem signkit-sample.txt"},
	{"-Scenario GpgSignFile", "gpg-rsa-4096", "signkit-sample.txt.asc", "gpg public.asc signkit-sample.txt.asc signkit-sample.txt"},
	{"-SCENARIO GPGSIGNFILE -GpgKeyId 0x1234", "gpg-rsa-4096", "signkit-sample.txt.asc", "gpg public.asc signkit-sample.txt.asc signkit-sample.txt"},
	{"-Scenario SignRpm dist/demo.rpm", "gpg-rsa-4096", "", "rpm public.asc dist/demo.rpm"},
	{"-Scenario SignDeb dist/demo.deb", "gpg-rsa-4096", "", "deb public.asc dist/demo.deb"},
	{"-Scenario osslsigncode dist/program.exe", "rsa-3072", "", "osslsigncode --root root.pem dist/program.exe"},
	{"-Scenario JarSigner dist/demo.jar", "rsa-3072", "", "jarsigner --root root.pem dist/demo.jar"},
}

// TestVendorLines runs them through scripts/run-scenario.sh, as the user of this process. The samples run in every image in other
// tests; what a line becomes is the same for all, so each image takes its share of the lines.
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
		number := slices.IndexFunc(s.images, func(i image) bool { return i.Name == w.image.Name })
		for i, v := range vendorLines {
			if i%len(s.images) != number {
				continue
			}
			words := append(strings.Fields(v.line), "-OrganizationId", w.service.setting("SIGNPATH_ORGANIZATION_ID"),
				"-ApiToken", w.service.setting("SIGNPATH_API_TOKEN"), "-ProjectSlug", "demo", "-SigningPolicySlug", v.policy,
				"-Image", w.image.tag(w.sample))
			verify := append([]string{"-Image", w.image.verifier(w.sample), "-Verify"}, strings.Fields(v.verify)[1:]...)
			verify = append([]string{"-Scenario", strings.Fields(v.verify)[0]}, verify...)
			if got := w.runScenario(nil, verify...); got.code == 0 {
				w.Errorf("%s: verifies before it is signed", v.line)
			}
			got := w.runScenario(nil, words...)
			if got.code != 0 {
				w.Errorf("%s: ended with %d", v.line, got.code)
				continue
			}
			if !strings.Contains(got.stderr, "warning: -ApiToken shows the token in the list of processes") {
				w.Errorf("%s: no warning about the token", v.line)
			}
			if got := w.runScenario(nil, verify...); got.code != 0 {
				w.Errorf("%s: verifying ended with %d", v.line, got.code)
			}
			if v.leaves == "" {
				continue
			}
			if err := os.Remove(filepath.Join(w.dir, v.leaves)); err != nil {
				w.Error(err)
			}
		}
	})
}

// runScenario runs scripts/run-scenario.sh in the work folder, on this machine, with the service's address and authority.
func (w *workplace) runScenario(env []string, arguments ...string) result {
	w.Helper()
	command := exec.CommandContext(within(w.T, commandLimit), absolute(w.T, "scripts", "run-scenario.sh"), arguments...)
	command.Dir = w.dir
	command.Env = append(os.Environ(), "SIGNPATH_API_URL=https://"+w.service.relay.address+"/Api",
		"SIGNKIT_TSA_URL=https://"+w.service.relay.address+"/tsa", "SIGNKIT_CA_FILE="+w.service.caFile())
	command.Env = append(command.Env, env...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = 10 * time.Second // what it has left behind may hold them
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

// TestScenarioOutsideContainers: --image none runs the sample on a machine that has the tools, and signkit only as `make build`
// leaves it in the checkout. The machine is an image without signkit.
func TestScenarioOutsideContainers(t *testing.T) {
	s := need(t)
	for _, f := range []struct{ sample, form, key string }{
		{"openssl", "cms", "demo/p-256"}, {"openssl", "dgst", "demo/rsa-3072"},
		{"pkcs11-tool", "", "demo/p-256"}, {"pkcs11-tool", "", "demo/rsa-3072"},
	} {
		form := strings.Trim(f.form+"-no-container", "-")
		s.each(t, s.inAll(users[1:2], cell{sample: f.sample, form: form, key: f.key}), func(w *workplace) {
			var options []string
			if f.form != "" {
				options = []string{"--form", f.form}
			}
			w.write("file", "hello\n")
			project, policy, _ := strings.Cut(w.key, "/")
			binds := w.service.binds()
			for _, folder := range []string{"scripts", "samples", "build"} {
				binds = append(binds, absolute(w.T, folder)+":/repository/"+folder+":ro")
			}
			got := s.run(w.T, container{
				image: w.image.verifier(w.sample), user: w.user, network: true, env: w.service.settings(), binds: binds, dir: w.dir,
				command: append([]string{"/repository/scripts/run-scenario.sh", "--scenario", w.sample, "--image", "none",
					"--project-slug", project, "--signing-policy-slug", policy, "file", "--"}, options...),
			})
			if got.code != 0 {
				w.Fatalf("ended with %d", got.code)
			}
			w.roots("root.pem", "stranger.pem")
			got = s.run(w.T, container{
				image: "signkit:" + w.image.Name, network: true, env: w.service.settings(), binds: w.service.binds(), dir: w.dir,
				command: []string{"bash", "-c", samplesInImage + "/openssl/certificates.sh " + w.key + " >chain.pem"},
			})
			if got.code != 0 {
				w.Fatalf("reading the certificates ended with %d", got.code)
			}
			verify := "bash $verify " + strings.Join(options, " ") + " --root root.pem chain.pem "
			w.judge(w.image.plain(), "cp file tampered; echo x >>tampered; mv file.[sp]* signature",
				check{"signed", true, verify + "file signature"}, check{"tampered", false, verify + "tampered signature"})
		})
	}
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
	command := exec.CommandContext(within(t, time.Minute), absolute(t, "scripts", "run-scenario.sh"), "-Scenario", "openssl", "--project_slug", "p",
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

// TestScenarioHidesATokenInThePlaceOfAFile: a variable of the wrong type in a CI system has the token itself.
func TestScenarioHidesATokenInThePlaceOfAFile(t *testing.T) {
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "file"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(within(t, time.Minute), absolute(t, "scripts", "run-scenario.sh"), "--scenario", "openssl",
		"--project-slug", "p", "--signing-policy-slug", "s", "file")
	command.Dir = work
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + work, "SIGNPATH_API_TOKEN_FILE=canary"}
	out, err := command.CombinedOutput()
	if err == nil || strings.Contains(string(out), "canary") || !strings.Contains(string(out), "SIGNPATH_API_TOKEN_FILE names no file") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestVendorNames: the vendor's names of scenarios, in any case, are our samples; what has no counterpart says what to do.
func TestVendorNames(t *testing.T) {
	bin, work := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\necho \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		line, says string
		code       int
	}{
		{"-Scenario OpenSSL", "/samples/openssl/sign.sh p/s file", 0},
		{"-scenario OPENSSL -opensslDGST", "/samples/openssl/sign.sh --form dgst p/s file", 0},
		{"-Scenario osslsigncode", "/samples/osslsigncode/sign.sh p/s file", 0},
		{"-Scenario Pkcs11Tool", "/samples/pkcs11-tool/sign.sh p/s file", 0},
		{"-Scenario JarSigner", "signkit:debian-13-java /usr/share/signkit/samples/jarsigner/sign.sh p/s file", 0},
		{"-Scenario GpgSignFile", "/samples/gpg/sign.sh p/s file", 0},
		{"-Scenario gpgsignfile -GpgKeyEmail a@example.com", "-GpgKeyEmail is not needed", 0},
		{"-Scenario SignRpm", "/samples/rpm/sign.sh p/s file", 0},
		{"-Scenario SignDeb", "/samples/deb/sign.sh p/s file", 0},
		{"-Scenario SignMaven", "signkit:debian-13-java /usr/share/signkit/samples/maven/sign.sh p/s file", 0},
		{"-Scenario GenerateGpgKey", "signkit gpg init", 2},
		{"-Scenario SignNothing", "unknown scenario SignNothing", 2},
		{"-Scenario OpenSSL -Unknown x", "unknown option -Unknown", 2},
		{"-Scenario OpenSSL -Image", "-Image needs a value", 2},
	} {
		words := append(strings.Fields(v.line), "-ProjectSlug", "p", "-SigningPolicySlug", "s", "file")
		if strings.HasSuffix(v.line, "-Image") {
			words = strings.Fields(v.line)
		}
		command := exec.CommandContext(within(t, time.Minute), absolute(t, "scripts", "run-scenario.sh"), words...)
		command.Dir, command.Env = work, []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + work}
		output, _ := command.CombinedOutput()
		if code := command.ProcessState.ExitCode(); code != v.code || !strings.Contains(string(output), v.says) {
			t.Errorf("%s: ended with %d, want %d and %q in\n%s", v.line, code, v.code, v.says, output)
		}
	}
}
