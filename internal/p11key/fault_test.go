package p11key

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
)

// openShim opens a token through the module that fails on demand.
func openShim(t *testing.T, key string) *Module {
	t.Helper()
	m := openWith(t, Options{Module: hsm.shim, Token: "keys", Key: key, PINFile: pinFile()})
	forget(t)
	return m
}

// fault makes the shim's next call of a function fail, until the test ends.
func fault(t *testing.T, function, what string) {
	t.Helper()
	path := filepath.Join(hsm.dir, function)
	if err := os.WriteFile(path, []byte(what), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(path) })
}

func cure(t *testing.T, function string) {
	t.Helper()
	if err := os.Remove(filepath.Join(hsm.dir, function)); err != nil {
		t.Fatal(err)
	}
}

// forget starts a new list of calls.
func forget(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Join(hsm.dir, "calls")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
}

// calls counts the calls of a function since forget.
func calls(t *testing.T, function string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(hsm.dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		if strings.TrimSpace(line) == function {
			n++
		}
	}
	return n
}

func sign(ctx context.Context, key *Key) error {
	digest := digestOf(crypto.SHA256)
	made, err := key.SignContext(ctx, digest, crypto.SHA256)
	if err != nil {
		return err
	}
	return check(key.Public(), digest, made, crypto.SHA256)
}

func TestAWrongSignatureIsNotReturned(t *testing.T) {
	for _, name := range []string{"rsa-2048", "p-256"} {
		key := find(t, openShim(t, name))
		fault(t, "C_Sign", "flip")
		if made, err := key.SignContext(bounded(t), digestOf(crypto.SHA256), crypto.SHA256); !errors.Is(err, ErrWrongSignature) || made != nil {
			t.Errorf("%s: %x, %v; want ErrWrongSignature", name, made, err)
		}
		mustSign(t, key)
	}
}

// TestReopensWhatIsLost lets one call fail in each way that a lost session or device shows.
func TestReopensWhatIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		function, value string
		login, restart  int // how often
	}{
		"session closed by the token": {"C_SignInit", "b3", 1, 0},
		"logged out":                  {"C_SignInit", "101", 1, 0},
		"logged out at the end":       {"C_Sign", "101", 1, 0},
		"handle of the key is old":    {"C_SignInit", "60", 1, 0},
		"device was away":             {"C_Sign", "32", 1, 0},
		"module was finalised":        {"C_Sign", "190", 1, 1},
		"device dies":                 {"dead", "yes", 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			key := find(t, openShim(t, "p-256"))
			mustSign(t, key)
			forget(t)
			fault(t, c.function, c.value)
			mustSign(t, key)
			if n := calls(t, "C_Login"); n != c.login {
				t.Errorf("%d logins, want %d", n, c.login)
			}
			if n := calls(t, "C_Initialize"); n != c.restart {
				t.Errorf("%d times C_Initialize, want %d", n, c.restart)
			}
			forget(t)
			mustSign(t, key)
			if n := calls(t, "C_OpenSession"); n != 0 {
				t.Errorf("the next signature opened %d sessions", n)
			}
		})
	}
}

func TestReopensOnlyOnce(t *testing.T) {
	key := find(t, openShim(t, "p-256"))
	forget(t)
	fault(t, "C_SignInit", "b3!")
	if err := sign(bounded(t), key); !isCode(err, pkcs11.CKR_SESSION_HANDLE_INVALID) {
		t.Errorf("error %v, want CKR_SESSION_HANDLE_INVALID", err)
	}
	if n := calls(t, "C_SignInit"); n != 2 {
		t.Errorf("%d attempts, want 2", n)
	}
}

// TestARefusalIsFinal: the device says no and is well.
func TestARefusalIsFinal(t *testing.T) {
	for _, value := range []string{"30", "5", "6", "68", "70"} {
		key := find(t, openShim(t, "p-256"))
		forget(t)
		fault(t, "C_SignInit", value)
		if err := sign(bounded(t), key); err == nil {
			t.Errorf("CKR 0x%s: no error", value)
		}
		if n := calls(t, "C_SignInit"); n != 1 {
			t.Errorf("CKR 0x%s: %d attempts, want 1", value, n)
		}
		mustSign(t, key)
	}
}

// TestAllRecoverFromALostDevice: one of many calls restarts the module, none fails.
func TestAllRecoverFromALostDevice(t *testing.T) {
	keys := []*Key{find(t, openShim(t, "p-256")), find(t, openShim(t, "rsa-2048"))}
	for _, key := range keys {
		mustSign(t, key)
	}
	fault(t, "dead", "yes")
	forget(t)
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() { mustSignAsync(t, keys[i%2]) })
	}
	group.Wait()
	l := keys[0].module.library
	if err := l.restart(bounded(t), l.starts.Load()-1); err != nil { // one more that saw the loss, late
		t.Error(err)
	}
	if n := calls(t, "C_Initialize"); n != 1 {
		t.Errorf("%d restarts, want 1", n)
	}
}

// TestALostSessionIsNotReplacedByAnotherLostOne: all of them were closed, and there is one attempt more.
func TestALostSessionIsNotReplacedByAnotherLostOne(t *testing.T) {
	m := openShim(t, "p-256")
	key := find(t, m)
	first, err := m.take(bounded(t), false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := m.take(bounded(t), false)
	if err != nil {
		t.Fatal(err)
	}
	m.library.give(first, true)
	m.library.give(second, true)
	if err := m.library.ctx.CloseAllSessions(first.token.slot); err != nil {
		t.Fatal(err)
	}
	mustSign(t, key)
}

func mustSignAsync(t *testing.T, key *Key) {
	if err := sign(bounded(t), key); err != nil {
		t.Error(err)
	}
}

// TestACallThatHangsIsLeftBehind also shows that others go on, and that the session is closed.
func TestACallThatHangsIsLeftBehind(t *testing.T) {
	key := find(t, openShim(t, "p-256"))
	mustSign(t, key)
	forget(t)
	fault(t, "C_Sign", "hang")
	ctx := expiring{t.Context(), make(chan struct{})}
	result := make(chan error, 1)
	go func() { result <- sign(ctx, key) }()
	waitUntil(t, "the call hangs", func() bool { return calls(t, "C_Sign") == 1 })
	close(ctx.ended)
	err := await(t, result)
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "cannot be cancelled") {
		t.Errorf("error %v, want ErrTimeout and context.DeadlineExceeded", err)
	}
	if n := calls(t, "C_CloseSession"); n != 0 {
		t.Errorf("%d sessions closed during the call", n)
	}
	cure(t, "C_Sign")
	waitUntil(t, "the late session is closed", func() bool { return calls(t, "C_CloseSession") == 1 })
	forget(t)
	mustSign(t, key)
	if n := calls(t, "C_OpenSession"); n != 1 {
		t.Errorf("%d sessions opened, want 1: the late one must not be used again", n)
	}
}

// expiring is a context whose time is over when the test says so.
type expiring struct {
	context.Context
	ended chan struct{}
}

func (c expiring) Done() <-chan struct{} { return c.ended }

func (c expiring) Err() error {
	select {
	case <-c.ended:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func await[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-bounded(t).Done():
		t.Fatalf("nothing came within %s", bound)
		panic("not reached")
	}
}

// TestManyHangingCallsAreBounded fills every place, and still ends in time.
func TestManyHangingCallsAreBounded(t *testing.T) {
	key := find(t, openShim(t, "p-256"))
	mustSign(t, key)
	forget(t)
	fault(t, "C_SignInit", "hang")
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(bounded(t))
	defer cancel()
	for range places {
		group.Go(func() {
			if err := sign(ctx, key); !errors.Is(err, ErrTimeout) {
				t.Errorf("error %v, want ErrTimeout", err)
			}
		})
	}
	waitUntil(t, "every place is taken", func() bool { return calls(t, "C_SignInit") == places })
	cancel()
	group.Wait()
	late, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if err := sign(late, key); !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "all 32 calls") {
		t.Errorf("error %v, want one that tells of all 32 calls", err)
	}
	cure(t, "C_SignInit")
	mustSign(t, key)
}

func TestOpenDoesNotWaitForAModuleThatHangs(t *testing.T) {
	if hsm.why != "" {
		t.Skip(hsm.why)
	}
	forget(t)
	fault(t, "C_Initialize", "hang")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Open(ctx, Options{Module: hsm.shim, Token: "keys", PINFile: pinFile()}); !errors.Is(err, ErrTimeout) {
		t.Errorf("error %v, want ErrTimeout", err)
	}
	cure(t, "C_Initialize")
	mustSign(t, find(t, openShim(t, "p-256")))
}

// waitUntil looks again and again, within the time of a test that hangs.
func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx := bounded(t)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", bound, what)
		}
	}
}

func TestWaitsForASessionWhereTheTokenHasFew(t *testing.T) {
	m := openShim(t, "p-256")
	fault(t, "limit", "2")
	key := find(t, m)
	other := find(t, openShim(t, "rsa-2048")) // has a session of its own, idle
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() { mustSignAsync(t, []*Key{key, other}[i%2]) })
	}
	group.Wait()
	cure(t, "limit")
	fault(t, "limit", "0")
	m.library.closeIdle(nil)
	if err := sign(bounded(t), key); !isCode(err, pkcs11.CKR_SESSION_COUNT) || !strings.Contains(err.Error(), "other programs") {
		t.Errorf("error %v, want CKR_SESSION_COUNT and who holds the sessions", err)
	}
}

func TestTakesTheIdleSessionOfAnotherKeyWhereTheTokenHasOne(t *testing.T) {
	fault(t, "limit", "1")
	first, second := find(t, openShim(t, "p-256")), find(t, openShim(t, "rsa-2048"))
	for range 2 {
		mustSign(t, first)
		mustSign(t, second)
	}
}

// TestALoginByAnotherMakesHandlesStale: all sessions were closed, which logs out, and another key's session has logged in since.
func TestALoginByAnotherMakesHandlesStale(t *testing.T) {
	m := openShim(t, "p-256")
	key, other := find(t, m), find(t, openShim(t, "rsa-2048"))
	mustSign(t, key)
	mustSign(t, other)
	m.library.closeIdle(nil)
	mustSign(t, other)
	forget(t)
	mustSign(t, key)
	if n := calls(t, "C_SignInit"); n != 1 {
		t.Errorf("%d calls of C_SignInit for one signature: the first had a handle of the login before", n)
	}
}

func TestAWrongPINIsTriedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pin")
	wrong := fmt.Sprint(time.Now().UnixNano()) // of this run: a process remembers
	if err := os.WriteFile(path, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	m := openWith(t, Options{Module: hsm.shim, Token: "keys", Key: "p-256", PINFile: path})
	forget(t)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, err := m.Find(bounded(t))
			if err == nil || !strings.Contains(err.Error(), "correct the PIN file") {
				t.Errorf("error %v, want one that says to correct the PIN file", err)
			} else if strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), path) {
				t.Error("the error shows the PIN, or what was given as its file and may be the PIN")
			}
		})
	}
	group.Wait()
	if n := calls(t, "C_Login"); n != 1 {
		t.Errorf("the wrong PIN was tried %d times", n)
	}
	if err := os.WriteFile(path, []byte(pin), 0o600); err != nil {
		t.Fatal(err)
	}
	mustSign(t, find(t, m))
}

func TestPINErrorsSayWhatToDo(t *testing.T) {
	for value, want := range map[string]string{
		"a4":  "security officer must unlock it",
		"a3":  "set a new PIN",
		"102": "has no user PIN yet",
		"7":   "CKR_ARGUMENTS_BAD",
	} {
		m := openShim(t, "p-256")
		fault(t, "C_Login", value)
		_, err := m.Find(bounded(t))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), pin) || strings.Contains(err.Error(), pinFile()) {
			t.Errorf("C_Login with 0x%s: %v, want %q", value, err, want)
		}
	}
}

// TestConfirmsEachUse: CKA_ALWAYS_AUTHENTICATE wants the PIN for each signature.
func TestConfirmsEachUse(t *testing.T) {
	fault(t, "confirm", "yes")
	key := find(t, openShim(t, "p-256"))
	forget(t)
	mustSign(t, key)
	mustSign(t, key)
	if n := calls(t, "C_Login"); n != 2 {
		t.Errorf("%d logins for 2 signatures", n)
	}
}

// TestAModuleForOneThread answers CKR_CANT_LOCK, and is then called by one thread at a time.
func TestAModuleForOneThread(t *testing.T) {
	fault(t, "C_Initialize", "a")
	key := find(t, openShim(t, "rsa-2048"))
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() { mustSignAsync(t, key) })
	}
	group.Wait()
	if n := calls(t, "overlap"); n != 0 {
		t.Errorf("%d calls overlapped", n)
	}
	if n := calls(t, "C_Sign"); n != 16 {
		t.Errorf("%d calls of C_Sign, want 16", n)
	}
}

func TestOneLoginAndOneSessionForASequence(t *testing.T) {
	m := openShim(t, "p-256")
	forget(t)
	key := find(t, m)
	for range 10 {
		mustSign(t, key)
	}
	for function, want := range map[string]int{"C_Login": 1, "C_OpenSession": 1, "C_SignInit": 10, "C_Sign": 10} {
		if n := calls(t, function); n != want {
			t.Errorf("%d calls of %s, want %d", n, function, want)
		}
	}
}

func TestCloseOfTheLastUserFinalises(t *testing.T) {
	m, other := openShim(t, "p-256"), openShim(t, "rsa-2048")
	second, err := Open(bounded(t), m.options)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	if n := calls(t, "C_Finalize"); n != 0 {
		t.Errorf("%d times C_Finalize with users left", n)
	}
	mustSign(t, find(t, m))
	mustSign(t, find(t, other))
}
