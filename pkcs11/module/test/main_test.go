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
	dir      string
	variant  []variant
	service  *mockapi.Server
	programs onces[string]
	modules  onces[variant]
	keys     map[string]crypto.PublicKey
}

// onces makes what has a name once, however many tests want it at the same time.
type onces[T any] struct {
	mu   sync.Mutex
	made map[string]func() (T, error)
}

func (o *onces[T]) get(name string, produce func() (T, error)) (T, error) {
	o.mu.Lock()
	if o.made == nil {
		o.made = map[string]func() (T, error){}
	}
	if o.made[name] == nil {
		o.made[name] = sync.OnceValues(produce)
	}
	made := o.made[name]
	o.mu.Unlock()
	return made()
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
	shared.dir = dir
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
	var all sync.WaitGroup
	var tokendErr, localErr, muslErr error
	all.Go(func() {
		tokendErr = command("env", "CGO_ENABLED=0", "go", "build", "-o", filepath.Join(b.dir, "signkit-tokend"), "signkit/cmd/signkit-tokend")
	})
	var local variant
	all.Go(func() { local, localErr = b.make("local", "cc", nil, nil) })
	shipped := variant{name: "shipped", compiler: "cc", module: "../../../build/libsignkit-pkcs11.so"}
	if path, err := filepath.Abs(shipped.module); err == nil {
		shipped.module = path
	}
	if _, err := os.Stat(shipped.module); err != nil {
		shipped.why = "make build has not made " + shipped.module
	}
	foreign := variant{name: "shipped on musl", compiler: "musl-gcc", module: shipped.module, host: headers, why: shipped.why}
	musl := variant{name: "musl", compiler: "musl-gcc"}
	if _, err := exec.LookPath(musl.compiler); err != nil {
		musl.why = "there is no musl-gcc (musl-tools)"
		foreign.why = musl.why
	} else {
		all.Go(func() { musl, muslErr = b.make("musl", "musl-gcc", nil, headers) })
	}
	all.Wait()
	b.variant = []variant{local, shipped, foreign, musl}
	return errors.Join(tokendErr, localErr, muslErr)
}

// headers are the machine's own kernel headers: musl brings none.
var headers = []string{"-idirafter", "/usr/include", "-idirafter", "/usr/include/" + machine() + "-linux-gnu"}

// machine is the first part of a Debian folder's name.
func machine() string {
	return map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
}

// Settings of modules that are built for tests. What is shipped has the defaults.
const (
	impatientStop    = "-DSTOP_LIMIT=1"      // seconds, for hosts that keep C_Finalize waiting
	impatientSilence = "-DWIRE_SILENCE=6000" // milliseconds, for hosts that stop a process: three times the interval of its signs of life
)

// with is the variant's compiler and hosts with a module of other flags.
func (v variant) with(t *testing.T, flags ...string) variant {
	t.Helper()
	v.need(t)
	name := v.name + " " + strings.Join(flags, " ")
	made, err := shared.modules.get(name, func() (variant, error) { return shared.make("other", v.compiler, flags, v.host) })
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// make builds the module; flags are for it, and where they are a sanitizer's for its hosts as well. Beside it will be the token process.
func (b *bench) make(name, compiler string, flags, hostFlags []string) (variant, error) {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	v := variant{name: name, module: filepath.Join(dir, "libsignkit-pkcs11.so"), compiler: compiler, host: slices.Clone(hostFlags)}
	for _, flag := range flags {
		if strings.HasPrefix(flag, "-f") {
			v.host = append(v.host, flag)
		}
	}
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
	return v, os.Symlink(filepath.Join(b.dir, "signkit-tokend"), filepath.Join(dir, "signkit-tokend"))
}

// command runs what tests need before they can begin.
func command(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
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
	if err := b.readKeys(); err != nil { // which makes them
		return err
	}
	return os.CopyFS(filepath.Join(b.dir, unused), os.DirFS(filepath.Join(b.dir, "state")))
}

// unused is the state of the service before it has signed: its keys and identities, which the services of single tests have as well.
const unused = "unused-state"

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
	path, err := b.programs.get(strings.Join(append([]string{name, compiler}, flags...), " "), func() (string, error) {
		dir, err := os.MkdirTemp(b.dir, "host-")
		if err == nil {
			err = os.Chmod(dir, 0o755) // for tests as other users
		}
		if err != nil {
			return "", err
		}
		path := filepath.Join(dir, name)
		args := append([]string{"-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-rdynamic", "-o", path, "hosts/" + name + ".c"}, flags...)
		return path, command(compiler, append(args, "-lpthread", "-ldl")...)
	})
	if err != nil {
		t.Fatal(err)
	}
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
	got, err := launch(slices.Concat(h.prefix, h.args), b.environment(t, h.env...))
	if err != nil || got.code != 0 {
		goOn(t)
	}
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// launch runs a program with this environment and no other. It may be called from any goroutine. What is still there of it and of
// its children after the bound is killed.
func launch(args, env []string) (outcome, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.Env = &stdout, &stderr, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("it hangs: %w", ctx.Err())
	} else if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil
	}
	if err != nil {
		return outcome{}, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}, nil
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
