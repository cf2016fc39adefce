// Package moduletest builds the PKCS#11 module and runs it in small hosts
// written in C, against the mock signing service over TLS. (The tests are not
// beside the C files because Go takes no C in a package without cgo.)
package moduletest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"signkit/internal/config"
	"signkit/internal/mockapi"
	"signkit/internal/signpath"
)

// bound ends a host that hangs: far more than any of them takes.
const bound = 3 * time.Minute

// bench is what all tests share.
type bench struct {
	dir     string
	variant []variant
	service *mockapi.Server
	mu      sync.Mutex
	built   map[string]string
	keys    map[string]crypto.PublicKey
}

// variant is one build of the module, with its token process beside it, and
// the compiler of the hosts that load it.
type variant struct {
	name     string
	module   string
	compiler string
	host     []string // flags for hosts
	why      string   // if it is not there
}

func (v variant) need(t *testing.T) {
	t.Helper()
	if v.why != "" {
		t.Skip(v.why)
	}
}

func (v variant) program(t *testing.T, name string) string {
	return shared.program(t, name, v.compiler, v.host...)
}

// neverUnloads is about musl, where dlclose does nothing.
func (v variant) neverUnloads() bool { return v.compiler == "musl-gcc" }

var shared bench

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "signkit-module")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir)
	shared.dir, shared.built = dir, map[string]string{}
	if err := shared.build(); err != nil {
		return 1, err
	}
	if err := shared.serve(); err != nil {
		return 1, err
	}
	defer shared.service.Close(context.Background())
	// Hosts wait more than they compute; one that waits 20 s must not keep the others.
	if err := flag.Set("test.parallel", strconv.Itoa(3*runtime.NumCPU())); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// build makes the module with the local compiler and with that of musl, each
// with the token process beside it; the shipped one is what make build made.
func (b *bench) build() error {
	local, err := b.make("local", "cc", nil, nil)
	if err != nil {
		return err
	}
	shipped := variant{name: "shipped", compiler: "cc", module: "../../../build/libsignkit-pkcs11.so"}
	if path, err := filepath.Abs(shipped.module); err == nil {
		shipped.module = path
	}
	if _, err := os.Stat(shipped.module); err != nil {
		shipped.why = "make build has not made " + shipped.module
	}
	// Kernel headers for hosts are the machine's: musl brings none.
	headers := []string{"-idirafter", "/usr/include", "-idirafter", "/usr/include/" + machine() + "-linux-gnu"}
	foreign := variant{name: "shipped on musl", compiler: "musl-gcc", module: shipped.module, host: headers, why: shipped.why}
	musl := variant{name: "musl"}
	if _, err := exec.LookPath("musl-gcc"); err != nil {
		foreign.why, musl.why = "there is no musl-gcc (musl-tools)", "there is no musl-gcc (musl-tools)"
	} else if musl, err = b.make("musl", "musl-gcc", nil, headers); err != nil {
		return err
	}
	b.variant = []variant{local, shipped, foreign, musl}
	return nil
}

// machine is the first part of a Debian folder's name.
func machine() string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
}

// compile makes a variant for one test.
func (b *bench) compile(t *testing.T, name, compiler string, flags, hostFlags []string) variant {
	t.Helper()
	v, err := b.make(name, compiler, flags, hostFlags)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// make builds the module; flags are for it and its hosts, hostFlags for these alone.
func (b *bench) make(name, compiler string, flags, hostFlags []string) (variant, error) {
	dir, err := os.MkdirTemp(b.dir, strings.ReplaceAll(name, " ", "-")+"-")
	v := variant{name: name, module: filepath.Join(dir, "libsignkit-pkcs11.so"), compiler: compiler, host: append(hostFlags, flags...)}
	if err == nil {
		err = os.Chmod(dir, 0o755) // for tests as other users
	}
	if err != nil {
		return v, err
	}
	args := append([]string{"--output", v.module, "--cc", compiler, "--"}, flags...)
	if err := command("../../../scripts/build-module.sh", args...); err != nil {
		return v, err
	}
	first, tokend := filepath.Join(b.dir, "signkit-tokend"), filepath.Join(dir, "signkit-tokend")
	if _, err := os.Stat(first); err != nil {
		if err := command("env", "CGO_ENABLED=0", "go", "build", "-o", first, "signkit/cmd/signkit-tokend"); err != nil {
			return v, err
		}
	}
	return v, os.Link(first, tokend)
}

func command(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

const serviceConfig = `{"organizations":[{"name":"test","id":"generate",
 "users":[{"name":"ci","token":"generate","permissions":["certificates"]},{"name":"observer","token":"generate"}],
 "certificates":[{"slug":"rsa-2048","type":"X509","keyType":"Rsa","keySizeInBits":2048},{"slug":"p-256","type":"X509","keyType":"Ecdsa","keySizeInBits":256}],
 "projects":[{"slug":"demo","policies":[{"slug":"rsa-2048","submitters":["ci"]},{"slug":"p-256","submitters":["ci"]}]}]}]}`

func (b *bench) serve() error {
	file := filepath.Join(b.dir, "service.json")
	if err := os.WriteFile(file, []byte(serviceConfig), 0o600); err != nil {
		return err
	}
	cfg, err := mockapi.LoadConfig(file)
	if err != nil {
		return err
	}
	b.service, err = mockapi.Start(mockapi.Options{Listen: "127.0.0.1:0", StateDir: filepath.Join(b.dir, "state"), Config: cfg, Log: io.Discard})
	if err != nil {
		return err
	}
	return b.readKeys()
}

// readKeys fetches the public keys the way a verifier would get them: from the service.
func (b *bench) readKeys() error {
	settings, err := config.Load(b.service.Environment(), "/")
	if err != nil {
		return err
	}
	client, err := signpath.New(settings, signpath.Options{})
	if err != nil {
		return err
	}
	defer client.Close()
	keys, err := client.Policies(context.Background(), signpath.Filter{})
	b.keys = map[string]crypto.PublicKey{}
	for _, key := range keys {
		b.keys[key.ID()] = key.Public()
	}
	return err
}

// program compiles one host, once for each set of flags.
func (b *bench) program(t *testing.T, name, compiler string, flags ...string) string {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	id := strings.Join(append([]string{name, compiler}, flags...), " ")
	if path := b.built[id]; path != "" {
		return path
	}
	path := filepath.Join(b.dir, fmt.Sprintf("%s-%d", name, len(b.built)))
	args := append([]string{"-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-rdynamic", "-o", path, "hosts/" + name + ".c"}, flags...)
	if err := command(compiler, append(args, "-lpthread", "-ldl")...); err != nil {
		t.Fatal(err)
	}
	b.built[id] = path
	return path
}

// host is one run of a host.
type host struct {
	args   []string
	env    []string
	prefix []string // a command that runs it, such as valgrind
}

type outcome struct {
	code           int
	stdout, stderr string
}

// environment is all that a host gets: nothing of the machine's own settings.
// Of two equal names the later one counts (os/exec).
func (b *bench) environment(t *testing.T, more ...string) []string {
	env := append(b.service.Environment(), "PATH="+os.Getenv("PATH"), "SIGNPATH_LOG_CONSOLE_LEVEL=error",
		testID(t))
	return append(env, more...)
}

func (b *bench) run(t *testing.T, h host) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	args := append(append([]string{}, h.prefix...), h.args...)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &stdout, &stderr, b.environment(t, h.env...)
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	if cmd.ProcessState.ExitCode() != 0 {
		goOn(t)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s hangs; stderr:\n%s", strings.Join(args, " "), stderr.String())
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// goOn lets the token processes of this test go on that a host has stopped and,
// failing, not continued: they end by themselves.
func goOn(t *testing.T) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		text, err := os.ReadFile(file)
		pid, numberErr := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && numberErr == nil && runs(pid) && slices.Contains(strings.Split(string(text), "\x00"), testID(t)) {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// testID marks the processes of a test in their environment; the package may
// be tested twice at the same time.
func testID(t *testing.T) string {
	return fmt.Sprintf("SIGNKIT_TEST_ID=%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
}

// mustRun runs a host that must succeed with n signatures, and verifies each over text.
func (b *bench) mustRun(t *testing.T, h host, key, text string, n int) outcome {
	t.Helper()
	got := b.run(t, h)
	if got.code == 77 {
		t.Skip(strings.TrimSpace(got.stderr))
	}
	if got.code != 0 {
		t.Fatalf("ended with %d; stderr:\n%s", got.code, got.stderr)
	}
	if found := b.verify(t, got.stdout, key, text); found != n {
		t.Errorf("%d signatures, want %d", found, n)
	}
	return got
}

// verify checks every printed signature with the standard library.
func (b *bench) verify(t *testing.T, stdout, key, text string) int {
	t.Helper()
	found := 0
	digest := sha256.Sum256([]byte(text))
	for line := range strings.Lines(stdout) {
		encoded, ok := strings.CutPrefix(strings.TrimSpace(line), "signature ")
		if !ok {
			continue
		}
		found++
		signature, err := hex.DecodeString(encoded)
		if err != nil || !valid(b.keys[key], digest[:], signature) {
			t.Errorf("signature %d does not verify with %s", found, key)
		}
	}
	return found
}

// valid takes RSA PKCS#1 v1.5, and ECDSA as r and s of fixed size.
func valid(public crypto.PublicKey, digest, signature []byte) bool {
	switch k := public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, crypto.SHA256, digest, signature) == nil
	case *ecdsa.PublicKey:
		return len(signature) == 64 && verifyP1363(k, digest, signature)
	}
	return false
}
