package p11key

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"signkit/internal/mockapi"
)

// TestSignsThroughOurOwnModule is a second implementation of PKCS#11: no login until a PIN is
// given, searches that ask a service, and a device that can be lost.
func TestSignsThroughOurOwnModule(t *testing.T) {
	module, err := filepath.Abs("../../build/libsignkit-pkcs11.so")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(module); err != nil {
		t.Skip("make build has not made " + module)
	}
	cfg := mockapi.DefaultConfig()
	project := &cfg.Organizations[0].Projects[0]
	project.Policies = slices.DeleteFunc(project.Policies, func(p mockapi.Policy) bool { return p.Slug != "rsa-2048" && p.Slug != "p-256" })
	service, err := mockapi.Start(mockapi.Options{Listen: "127.0.0.1:0", StateDir: t.TempDir(), Config: cfg, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		_ = service.Close(ctx)
	})
	for _, setting := range service.Environment() {
		name, value, _ := strings.Cut(setting, "=")
		t.Setenv(name, value)
	}
	pin := filepath.Join(t.TempDir(), "pin")
	if err := os.WriteFile(pin, []byte("CONFIG\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	mark := fmt.Sprintf("test %d", time.Now().UnixNano())
	t.Setenv("SIGNKIT_TEST_ID", mark)
	for _, name := range []string{"demo/rsa-2048", "demo/p-256"} {
		t.Run(name, func(t *testing.T) {
			m, err := Open(bounded(t), Options{Module: module, Key: name, PINFile: pin})
			if err != nil {
				t.Fatal(err)
			}
			key := find(t, m)
			mustSign(t, key)
			killTokenProcess(t, mark)
			mustSign(t, key)
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("no such key", func(t *testing.T) {
		err := openAndFind(t, Options{Module: module, Key: "demo/nothing", PINFile: pin})
		if err == nil || !strings.Contains(err.Error(), "check the key's label or id") || !strings.Contains(err.Error(), "demo/rsa-2048") {
			t.Errorf("error %v, want one that lists the keys", err)
		}
	})
}

// killTokenProcess ends the process behind the module. It is the one whose environment has the mark.
func killTokenProcess(t *testing.T, mark string) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range processes {
		program, _ := os.Readlink(filepath.Join(dir, "exe"))
		environment, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if filepath.Base(program) != "signkit-tokend" || !bytes.Contains(environment, []byte(mark)) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root sees the environment of the token process")
	}
	t.Fatal("there is no token process")
}
