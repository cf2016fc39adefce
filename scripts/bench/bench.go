package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"signkit/internal/mockapi"
)

// The keys both sides have. RSA-3072 is what most code signing keys are. P-256 costs next
// to nothing to sign with, so that nothing but the way there and back is measured.
const (
	keyRSA = "demo/rsa-3072"
	keyEC  = "demo/p-256"
)

var keyNames = map[string]string{keyRSA: "RSA-3072", keyEC: "P-256"}

// pin tells the module to take its credentials from the settings; SoftHSM2 gets the same.
const pin = "CONFIG"

// bench holds both sides: our module with a signing service on this machine, and SoftHSM2.
type bench struct {
	ctx     context.Context
	runs    int
	dir     string // scratch
	host    string // the program of testdata/host.c
	module  string
	softhsm string
	service *mockapi.Server

	otherBuild string // folder of another build of signkit; empty: none is compared with

	env []string // for our module and for SoftHSM2
}

func newBench(ctx context.Context, build string, runs int) (*bench, error) {
	dir, err := os.MkdirTemp("", "signkit-bench")
	if err != nil {
		return nil, err
	}
	b := &bench{ctx: ctx, runs: runs, dir: dir, host: filepath.Join(dir, "host")}
	if err := b.prepare(build); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	if b.service != nil {
		b.stop(b.service)
	}
	_ = os.RemoveAll(b.dir)
}

// stop ends a service, also after an interrupt.
func (b *bench) stop(service *mockapi.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), time.Minute)
	defer cancel()
	_ = service.Close(ctx)
}

func (b *bench) prepare(build string) (err error) {
	if b.module, err = filepath.Abs(filepath.Join(build, "libsignkit-pkcs11.so")); err != nil {
		return err
	}
	if _, err := b.output(nil, "cc", "-O2", "-pthread", "-o", b.host, "scripts/bench/testdata/host.c", "-ldl"); err != nil {
		return err
	}
	if err = os.WriteFile(b.small(), []byte("hello"), 0o600); err != nil {
		return err
	}
	options := mockapi.Options{StateDir: filepath.Join(b.dir, "state"), Config: sameKeys()}
	if b.service, err = mockapi.Start(options); err != nil {
		return err
	}
	b.env = append(b.environment(b.service), "SOFTHSM2_CONF="+filepath.Join(b.dir, "softhsm2.conf"))
	return b.makeToken()
}

// sameKeys is the built-in configuration with the keys that SoftHSM2 gets too: tools such as
// libp11 look at every one.
func sameKeys() *mockapi.Config {
	cfg := mockapi.DefaultConfig()
	project := &cfg.Organizations[0].Projects[0]
	project.Policies = slices.DeleteFunc(project.Policies, func(p mockapi.Policy) bool {
		return keyNames[project.Slug+"/"+p.Slug] == ""
	})
	return cfg
}

// environment has what a process needs to sign with a service: a failure shows at once and is not repeated. The service's root is
// the only one that is read, unless systemRoots follows.
func (b *bench) environment(service *mockapi.Server) []string {
	return append(service.Environment(), "PATH="+os.Getenv("PATH"), "SSL_CERT_FILE="+service.CAFile(),
		"SIGNPATH_LOG_CONSOLE_LEVEL=error", "SIGNPATH_TIMEOUTS_RETRY_COUNT=0")
}

// systemRoots has the system's roots read too, as everybody who sets nothing has.
const systemRoots = "SSL_CERT_FILE="

// makeToken makes a SoftHSM2 token with keys of the same names.
func (b *bench) makeToken() error {
	found, err := filepath.Glob("/usr/lib*/*/softhsm/libsofthsm2.so")
	if err != nil || len(found) == 0 {
		return errors.New("SoftHSM2 is not here (package softhsm2)")
	}
	b.softhsm = found[0]
	tokens := filepath.Join(b.dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		return err
	}
	settings := fmt.Sprintf("directories.tokendir = %s\nlog.level = ERROR\n", tokens)
	if err := os.WriteFile(filepath.Join(b.dir, "softhsm2.conf"), []byte(settings), 0o600); err != nil {
		return err
	}
	_, err = b.output(b.env, "softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", pin, "--so-pin", pin)
	if err != nil {
		return err
	}
	for name, kind := range map[string]string{keyRSA: "rsa:3072", keyEC: "EC:prime256v1"} {
		_, err := b.output(b.env, "pkcs11-tool", "--module", b.softhsm, "--login", "--pin", pin,
			"--keypairgen", "--key-type", kind, "--id", fmt.Sprintf("%x", name), "--label", name)
		if err != nil {
			return err
		}
	}
	return nil
}

// patience is far more than any program here takes.
const patience = 10 * time.Minute

// output runs a program to its end.
func (b *bench) output(env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.WaitDelay = env, time.Minute
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, out)
	}
	return string(out), nil
}

// samples are the measurements of one side, by name.
type samples map[string][]float64

func (s samples) add(name string, value float64) { s[name] = append(s[name], value) }

// read adds the lines "NAME NUMBER" that a program printed.
func (s samples) read(text string) error {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("not a measurement: %q", line)
		}
		s.add(name, n)
	}
	return nil
}

// sampleHost runs the C host once and adds what it prints.
func (b *bench) sampleHost(into samples, env []string, module, key string, more ...string) error {
	out, err := b.output(env, b.host, append([]string{module, pin, key}, more...)...)
	if err != nil {
		return err
	}
	return into.read(out)
}

// alternate measures both sides in turn; who begins changes each time, because the second
// finds the machine warm. The first pair of runs is not kept: it fills caches.
func (b *bench) alternate(ours, other func(into samples) error) (o, t samples, err error) {
	o, t = samples{}, samples{}
	if err := errors.Join(ours(samples{}), other(samples{})); err != nil {
		return nil, nil, err
	}
	for i := range b.runs {
		first, second := func() error { return ours(o) }, func() error { return other(t) }
		if i%2 == 1 {
			first, second = second, first
		}
		if err := first(); err != nil {
			return nil, nil, err
		}
		if err := second(); err != nil {
			return nil, nil, err
		}
	}
	return o, t, nil
}
