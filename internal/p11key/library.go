package p11key

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/miekg/pkcs11"
)

const (
	// places bounds the calls that are inside one module at a time, those that hang included.
	places = 32
	// restartPatience bounds the wait for the calls of others before a module is restarted.
	restartPatience = 2 * time.Second
)

// library is one module of this process. PKCS#11 knows only one application in a process
// (C_Initialize, section 5.4 of v2.40), so there is one library for each file.
type library struct {
	path string
	ctx  *pkcs11.Ctx
	// place has room for one token for each call inside the module.
	place chan struct{}
	// alone is held by the one that takes all places.
	alone chan struct{}
	// released wakes those who wait because the token allows no more sessions.
	released chan struct{}
	// starting and login are held during C_Initialize and C_Login, which may hang: only
	// goroutines that can be left behind wait for them.
	starting, login sync.Mutex
	// single is held during each call of a module that cannot be used by several threads.
	single sync.Mutex

	mu      sync.Mutex          // never held during a call of the module
	serial  bool                // use single
	users   int                 // Open less Close
	running bool                // C_Initialize has succeeded
	ours    bool                // it was this package that called C_Initialize
	epoch   int                 // counts C_Initialize: handles of an earlier one mean nothing
	logins  int                 // counts C_Login: handles of private keys from before one mean nothing
	refused map[string][32]byte // tokens and hashes of the PINs they have refused
	pools   map[*pool]struct{}
}

var loaded struct {
	sync.Mutex
	libraries map[string]*library
}

// load finds or loads the library and counts its user; it does not call it yet.
func load(path string) (*library, error) {
	if !filepath.IsAbs(path) {
		return nil, fmt.Errorf("PKCS#11 module %q: give the absolute path of the shared library as module path", path)
	}
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("PKCS#11 module: %w; check the module path", err)
	}
	loaded.Lock()
	defer loaded.Unlock()
	l := loaded.libraries[real]
	if l == nil {
		ctx := pkcs11.New(real)
		if ctx == nil {
			return nil, fmt.Errorf("PKCS#11 module %s: %s; check the module path", path, whyNot(real))
		}
		l = newLibrary(real, ctx)
		if loaded.libraries == nil {
			loaded.libraries = map[string]*library{}
		}
		loaded.libraries[real] = l
	}
	l.mu.Lock()
	l.users++
	l.mu.Unlock()
	return l, nil
}

func newLibrary(path string, ctx *pkcs11.Ctx) *library {
	return &library{path: path, ctx: ctx, place: make(chan struct{}, places), alone: make(chan struct{}, 1), released: make(chan struct{}, places),
		refused: map[string][32]byte{}, pools: map[*pool]struct{}{}}
}

// whyNot guesses why the dynamic linker refused a file: miekg/pkcs11 does not tell.
func whyNot(path string) string {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return "is a folder"
	}
	file, err := elf.Open(path)
	if err != nil {
		return "is no shared library (" + err.Error() + ")"
	}
	defer file.Close()
	if self, err := elf.Open("/proc/self/exe"); err == nil {
		defer self.Close()
		if self.Machine != file.Machine || self.Class != file.Class {
			return fmt.Sprintf("is for another machine (%s, this program is for %s)", file.Machine, self.Machine)
		}
	}
	symbols, _ := file.DynamicSymbols()
	for _, s := range symbols {
		if s.Name == "C_GetFunctionList" {
			return "cannot be loaded: a library that it needs may be missing (ldd " + path + " shows)"
		}
	}
	return "exports no C_GetFunctionList, so it is no PKCS#11 module"
}

// initialize calls C_Initialize unless that has been done.
func (l *library) initialize() error {
	l.starting.Lock()
	defer l.starting.Unlock()
	l.mu.Lock()
	running := l.running
	l.mu.Unlock()
	if running {
		return nil
	}
	err := l.ctx.Initialize()
	serial := errors.Is(err, pkcs11.Error(pkcs11.CKR_CANT_LOCK))
	if serial {
		err = l.ctx.Initialize(pkcs11.InitializeWithFlags(0))
	}
	if err != nil && !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return fmt.Errorf("PKCS#11 module %s: C_Initialize: %w; check the module path and the module's own configuration", l.path, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running, l.ours, l.serial = true, err == nil, serial
	l.epoch++
	return nil
}

func (l *library) currentEpoch() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

func (l *library) currentLogin() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.logins
}

func (l *library) loggedIn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logins++
}

// restart finalises and initialises the module again, unless somebody has done so since the
// given epoch. It needs the module for itself, and reports an error where that cannot be had.
func (l *library) restart(ctx context.Context, epoch int) error {
	ctx, cancel := context.WithTimeout(ctx, restartPatience)
	defer cancel()
	release, err := l.exclusive(ctx)
	if err != nil {
		return err
	}
	_, err = within(ctx, release, func() (struct{}, error) {
		if l.currentEpoch() != epoch {
			return struct{}{}, nil
		}
		l.finalize()
		return struct{}{}, l.initialize()
	})
	return err
}

// finalize ends the module; what it answers changes nothing.
func (l *library) finalize() {
	_ = l.ctx.Finalize()
	l.mu.Lock()
	l.running = false
	l.mu.Unlock()
}

// release is the end of one user; the last one finalises the module.
func (l *library) release(ctx context.Context) error {
	l.mu.Lock()
	l.users--
	last := l.users == 0 && l.running && l.ours
	l.mu.Unlock()
	if !last {
		return nil
	}
	free, err := l.exclusive(ctx)
	if err != nil {
		return fmt.Errorf("closing PKCS#11 module %s: %w", l.path, err)
	}
	_, err = within(ctx, free, func() (struct{}, error) {
		l.mu.Lock()
		again := l.users > 0 // opened meanwhile
		l.mu.Unlock()
		if !again {
			l.finalize()
		}
		return struct{}{}, nil
	})
	return err
}
