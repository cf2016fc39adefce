package p11key

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/pkcs11"
	"golang.org/x/sync/semaphore"
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
	path   string
	ctx    *pkcs11.Ctx
	calls  *semaphore.Weighted // a call takes one place, or all where no other may be in the module
	serial atomic.Bool         // the module cannot be used by several threads
	starts atomic.Int64        // counts C_Initialize

	// setup is held during C_Initialize, C_OpenSession and C_Login, which may hang: only
	// goroutines that can be left behind wait for it.
	setup   sync.Mutex
	running bool                // C_Initialize has succeeded
	refused map[string][32]byte // tokens and hashes of the PINs they have refused

	mu       sync.Mutex    // never held during a call of the module
	users    int           // Open less Close
	idle     []*session    // for the next operation
	busy     int           // sessions in use
	returned chan struct{} // closed, and made anew, when a session becomes idle or is closed
}

var loaded = struct {
	sync.Mutex
	libraries map[string]*library
}{libraries: map[string]*library{}}

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
		l = &library{path: real, ctx: ctx, calls: semaphore.NewWeighted(places), refused: map[string][32]byte{},
			returned: make(chan struct{})}
		loaded.libraries[real] = l
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.users++
	return l, nil
}

// whyNot guesses why the dynamic linker refused a file: miekg/pkcs11 does not tell.
func whyNot(path string) string {
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		return "is a folder"
	}
	file, err := elf.Open(path)
	if err != nil {
		return "is not a shared library (" + err.Error() + ")"
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
	return "exports no C_GetFunctionList, so it is not a PKCS#11 module"
}

// call runs f, which calls the module, in a goroutine, and waits for it or for the context.
// The places in the module are taken until f returns.
func call[T any](ctx context.Context, l *library, taken int64, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	if err := l.calls.Acquire(ctx, taken); err != nil {
		return none, fmt.Errorf("%w: one call, or all %d calls that may run at a time, hang or wait: %w", ErrTimeout, places, err)
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		l.calls.Release(taken)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
	}
}

// place is how many places a call takes.
func (l *library) place() int64 {
	if l.serial.Load() {
		return places
	}
	return 1
}

// begin makes sure that the module has been initialised.
func (l *library) begin() error {
	l.setup.Lock()
	defer l.setup.Unlock()
	return l.initialize()
}

// initialize calls C_Initialize unless that has been done. The caller holds setup.
func (l *library) initialize() error {
	if l.running {
		return nil
	}
	err := l.ctx.Initialize()
	serial := isCode(err, pkcs11.CKR_CANT_LOCK)
	if serial {
		err = l.ctx.Initialize(pkcs11.InitializeWithFlags(0))
	}
	if err != nil && !isCode(err, pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED) {
		return fmt.Errorf("PKCS#11 module %s: C_Initialize: %w; check the module path and the module's own configuration", l.path, err)
	}
	l.running = true
	l.serial.Store(serial)
	l.starts.Add(1)
	return nil
}

// finalize ends the module, whatever it answers, and all sessions with it. The caller holds
// setup and has the module for itself, so that no session is in use.
func (l *library) finalize() {
	_ = l.ctx.Finalize()
	l.running = false
	l.mu.Lock()
	defer l.mu.Unlock()
	l.idle = nil
}

// endUnused finalises a module that has not been opened again meanwhile.
func (l *library) endUnused() {
	l.setup.Lock()
	defer l.setup.Unlock()
	l.mu.Lock()
	unused := l.users == 0
	l.mu.Unlock()
	if unused && l.running {
		l.finalize()
	}
}

// restart finalises and initialises the module again, unless somebody has done so since the
// given start. It needs the module for itself, and reports an error where that cannot be had.
func (l *library) restart(ctx context.Context, start int64) error {
	ctx, cancel := context.WithTimeout(ctx, restartPatience)
	defer cancel()
	_, err := call(ctx, l, places, func() (none struct{}, _ error) {
		l.setup.Lock()
		defer l.setup.Unlock()
		if l.starts.Load() == start {
			l.finalize()
		}
		return none, l.initialize()
	})
	return err
}

// isCode reports whether err holds one of these return values of PKCS#11.
func isCode(err error, codes ...uint) bool {
	code, ok := errors.AsType[pkcs11.Error](err)
	return ok && slices.Contains(codes, uint(code))
}
