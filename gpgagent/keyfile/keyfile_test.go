package keyfile

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"signkit/internal/keygrip"
)

// entry makes an entry with a fresh key.
func entry(t *testing.T) Entry {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	grip, err := keygrip.Of(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return Entry{Keygrip: grip, Public: der, Fingerprint: strings.Repeat("AB", 20),
		Created: time.Unix(1700000000, 0).UTC(), UserID: "Release <release@example.org>"}
}

func service(t *testing.T, project, policy string) Entry {
	e := entry(t)
	e.SignPath = &SignPath{Project: project, Policy: policy}
	return e
}

func module(t *testing.T, p PKCS11) Entry {
	e := entry(t)
	e.PKCS11 = &p
	return e
}

func mustAdd(t *testing.T, path string, e Entry) {
	t.Helper()
	if err := Add(path, e); err != nil {
		t.Fatal(err)
	}
}

func load(t *testing.T, path string) []Entry {
	t.Helper()
	f, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return f.Keys
}

func TestLoadReadsWhatAddWrote(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	expires := time.Unix(1800000000, 0).UTC()
	first, second := service(t, "demo", "gpg"), module(t, PKCS11{"/usr/lib/softhsm2.so", "release", "key", "/run/pin"})
	first.Expires = &expires
	mustAdd(t, path, first)
	mustAdd(t, path, second)
	if got := load(t, path); !reflect.DeepEqual(got, []Entry{first, second}) {
		t.Errorf("Load = %+v\nwant %+v", got, []Entry{first, second})
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	pub, err := load(t, path)[1].PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	if grip, err := keygrip.Of(pub); err != nil || grip != second.Keygrip {
		t.Errorf("keygrip of PublicKey = %s, %v; want %s", grip, err, second.Keygrip)
	}
}

func TestJSONNames(t *testing.T) {
	expires := time.Unix(1800000000, 0).UTC()
	e := Entry{Keygrip: "K", Public: []byte("p"), Fingerprint: "F", Created: time.Unix(1700000000, 0).UTC(), Expires: &expires,
		UserID: "U", SignPath: &SignPath{"demo", "gpg"}, PKCS11: &PKCS11{"m", "t", "k", "f"}}
	got, err := json.Marshal(File{Keys: []Entry{e}})
	want := `{"keys":[{"keygrip":"K","public_key":"cA==","fingerprint":"F","created":"2023-11-14T22:13:20Z",` +
		`"expires":"2027-01-15T08:00:00Z","user_id":"U","signpath":{"project":"demo","policy":"gpg"},` +
		`"pkcs11":{"module":"m","token":"t","key":"k","pin_file":"f"}}]}`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v; want\n%s", got, err, want)
	}
}

func TestID(t *testing.T) {
	for want, e := range map[string]Entry{
		"demo/gpg":           {SignPath: &SignPath{"demo", "gpg"}},
		"pkcs11:release/key": {PKCS11: &PKCS11{Token: "release", Key: "key"}},
		"pkcs11:release/":    {PKCS11: &PKCS11{Token: "release"}},
	} {
		if got := e.ID(); got != want {
			t.Errorf("ID = %q, want %q", got, want)
		}
	}
}

func TestAddReplacesTheSameSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	a, b := service(t, "demo", "a"), module(t, PKCS11{"/m.so", "token", "key", "/old"})
	mustAdd(t, path, a)
	mustAdd(t, path, b)
	rotated, moved := service(t, "demo", "a"), module(t, PKCS11{"/m.so", "token", "key", "/new"})
	mustAdd(t, path, rotated)
	mustAdd(t, path, moved)
	if got := load(t, path); !reflect.DeepEqual(got, []Entry{rotated, moved}) {
		t.Errorf("Load = %+v\nwant %+v", got, []Entry{rotated, moved})
	}
}

func TestAddRefusesAKeyOfAnotherSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	first := service(t, "demo", "first")
	mustAdd(t, path, first)
	for name, change := range map[string]func(*Entry){
		"policy": func(e *Entry) { e.SignPath = &SignPath{"demo", "second"} },
		"module": func(e *Entry) { e.SignPath, e.PKCS11 = nil, &PKCS11{Module: "/m.so", Token: "second"} },
	} {
		second := first
		change(&second)
		err := Add(path, second)
		if err == nil || !strings.Contains(err.Error(), "demo/first") || !strings.Contains(err.Error(), second.ID()) {
			t.Errorf("%s: Add = %v, want an error that names both", name, err)
		}
	}
	if got := load(t, path); !reflect.DeepEqual(got, []Entry{first}) {
		t.Errorf("the list has changed: %+v", got)
	}
}

// A source that takes over the key of another one is refused also where it has
// an entry of its own.
func TestAddRefusesToMoveOntoAKeyOfAnotherSource(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	first, second := service(t, "demo", "first"), service(t, "demo", "second")
	mustAdd(t, path, second)
	mustAdd(t, path, first)
	taken := first
	taken.SignPath = second.SignPath
	if err := Add(path, taken); err == nil || !strings.Contains(err.Error(), "demo/first") {
		t.Errorf("Add = %v, want an error that names demo/first", err)
	}
}

func TestAddRefusesABrokenEntry(t *testing.T) {
	for name, spoil := range map[string]func(*Entry){
		"no source":         func(e *Entry) { e.SignPath = nil },
		"two sources":       func(e *Entry) { e.PKCS11 = &PKCS11{Module: "/m.so"} },
		"no policy":         func(e *Entry) { e.SignPath.Policy = "" },
		"no module":         func(e *Entry) { e.SignPath, e.PKCS11 = nil, &PKCS11{Token: "t"} },
		"wrong keygrip":     func(e *Entry) { e.Keygrip = strings.Repeat("0", 40) },
		"lower-case grip":   func(e *Entry) { e.Keygrip = strings.ToLower(e.Keygrip) },
		"broken public key": func(e *Entry) { e.Public = e.Public[1:] },
		"no public key":     func(e *Entry) { e.Public = nil },
	} {
		path := filepath.Join(t.TempDir(), Name)
		e := service(t, "demo", "gpg")
		spoil(&e)
		if err := Add(path, e); err == nil {
			t.Errorf("%s: Add succeeded", name)
		}
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: there is a file: %v", name, err)
		}
	}
}

func TestLoadSaysThatThereIsNoFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), Name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load = %v, want fs.ErrNotExist", err)
	}
}

func TestLoadRefusesABrokenFile(t *testing.T) {
	good, err := json.Marshal(service(t, "demo", "gpg"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":           "",
		"no JSON":         "keys",
		"cut":             `{"keys":[` + string(good),
		"wrong type":      `{"keys":5}`,
		"no entry":        `{"keys":[{}]}`,
		"the same twice":  fmt.Sprintf(`{"keys":[%s,%s]}`, good, good),
		"foreign keygrip": strings.Replace(`{"keys":[`+string(good)+`]}`, `"keygrip":"`, `"keygrip":"00`, 1),
	} {
		path := filepath.Join(t.TempDir(), Name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Load = %v, want an error that names the file", name, err)
		}
		if err := Add(path, service(t, "demo", "other")); err == nil {
			t.Errorf("%s: Add replaced a file it cannot read", name)
		}
	}
}

func TestLoadRefusesWhatIsNoFile(t *testing.T) {
	if _, err := Load(t.TempDir()); err == nil {
		t.Error("Load read a directory")
	}
}

func TestAddByManyAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	entries := make([]Entry, 20)
	for i := range entries {
		entries[i] = service(t, "demo", fmt.Sprint(i))
	}
	var group sync.WaitGroup
	for _, e := range entries {
		group.Go(func() {
			if err := Add(path, e); err != nil {
				t.Error(err)
			}
			if _, err := Load(path); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := load(t, path); len(got) != len(entries) {
		t.Errorf("%d entries, want %d", len(got), len(entries))
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// A process that holds the lock, stopped for example, does not hold up others for ever.
func TestAddDoesNotWaitForEver(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	other := flock.New(path + ".lock")
	if err := other.Lock(); err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := add(ctx, path, service(t, "demo", "gpg")); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), path) {
		t.Errorf("add = %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a file: %v", err)
	}
}
