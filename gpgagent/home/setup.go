package home

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/gofrs/flock"

	"signkit/gpgagent/keyfile"
)

// setUpTime bounds a set-up: nothing in it waits for the network.
const setUpTime = time.Minute

// Key is a remote key to be set up.
type Key struct {
	Entry  keyfile.Entry
	Public []byte // transferable public key (RFC 9580, section 10.1), binary or armored
}

// Options are what a set-up needs.
type Options struct {
	Bridge  string   // path of signkit-scdaemon
	Environ []string // what the agent and the bridge run in: credentials, absolute paths
	Keys    []Key    // the first is the default
}

// Result is what a person should know about a set-up.
type Result struct {
	AgentPID  string
	Displaced string // a scdaemon-program that the bridge replaced in gpg-agent.conf
}

// SetUp makes gpg sign with the keys. When it fails, the GNUPGHOME is as before, and one that
// Create made is gone; a public key that was imported stays. An agent that ran is stopped:
// it has the environment of its start.
func (h *Home) SetUp(ctx context.Context, o Options) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, setUpTime)
	defer cancel()
	lock := flock.New(h.file(".signkit-setup.lock"))
	if _, err := lock.TryLockContext(ctx, endPoll); err != nil {
		return Result{}, fmt.Errorf("waiting for another set-up of %s: %w", h.Dir, err)
	}
	defer lock.Unlock()
	var result Result
	var done undo
	err := h.write(o, &done, &result)
	if err == nil {
		err = h.bringUp(ctx, o, &done, &result)
	}
	if err != nil {
		done.all()
		if h.Temporary {
			// Not with the context of the set-up, which may be over.
			err = errors.Join(err, h.End(context.WithoutCancel(ctx)))
		}
		return Result{}, err
	}
	return result, nil
}

// write makes the files. Whatever could be refused is looked at before the first of them.
func (h *Home) write(o Options, done *undo, result *Result) error {
	for _, key := range o.Keys {
		if _, err := h.stubReplaceable(key.Entry.Keygrip); err != nil {
			return err
		}
	}
	done.keep(h.file(keyfile.Name))
	for _, key := range o.Keys {
		if err := keyfile.Add(h.file(keyfile.Name), key.Entry); err != nil {
			return err
		}
	}
	for _, key := range o.Keys {
		done.keepReference(h.StubFile(key.Entry.Keygrip))
		if err := h.writeStub(key.Entry); err != nil {
			return fmt.Errorf("writing the reference to %s: %w", key.Entry.ID(), err)
		}
	}
	done.keep(h.file(agentConfiguration))
	var err error
	result.Displaced, err = h.configure(o.Bridge, o.Keys[0].Entry.Fingerprint)
	return err
}

// bringUp starts the agent, imports the public keys and checks that gpg reaches the keys.
func (h *Home) bringUp(ctx context.Context, o Options, done *undo, result *Result) error {
	socket, err := h.settledSocket(ctx)
	if err != nil {
		return err
	}
	if err := h.stop(ctx); err != nil {
		return err
	}
	*done = append(*done, func() {
		_ = h.stop(context.WithoutCancel(ctx)) // the cause of the failure counts
	})
	if err := h.startAgent(ctx, o.Environ, socket); err != nil {
		return err
	}
	for _, key := range o.Keys {
		if err := h.importKey(ctx, o.Environ, key.Entry.Fingerprint, key.Public); err != nil {
			if missing := h.MissingKeyboxd(ctx); missing != nil {
				return missing
			}
			return fmt.Errorf("importing the public key of %s: %w", key.Entry.ID(), err)
		}
	}
	if _, err := ask(ctx, socket, "SCD GETINFO version"); err != nil {
		return &BridgeError{o.Bridge, err}
	}
	for _, key := range o.Keys {
		if err := h.checkSecret(ctx, o.Environ, key.Entry.Fingerprint); err != nil {
			return fmt.Errorf("checking %s: %w", key.Entry.ID(), err)
		}
	}
	result.AgentPID, err = ask(ctx, socket, "GETINFO pid")
	return err
}

// BridgeError reports that gpg-agent runs and cannot start the bridge.
type BridgeError struct {
	Path string
	Err  error
}

func (e *BridgeError) Error() string {
	return fmt.Sprintf("gpg-agent cannot reach the bridge %s: %v", e.Path, e.Err)
}
func (e *BridgeError) Unwrap() error { return e.Err }

// undo puts files back as they were.
type undo []func()

// keep remembers a file's content, or that there was none.
func (u *undo) keep(path string) {
	data, err := os.ReadFile(path)
	*u = append(*u, func() {
		if errors.Is(err, fs.ErrNotExist) {
			os.Remove(path)
			return
		}
		if now, _ := os.ReadFile(path); err == nil && !bytes.Equal(now, data) {
			replaceFile(path, data)
		}
	})
}

// keepReference is keep for a file of private-keys-v1.d. What has become a private key since then,
// because somebody imported one while the agent was starting, stays.
func (u *undo) keepReference(path string) {
	u.keep(path)
	restore := (*u)[len(*u)-1]
	(*u)[len(*u)-1] = func() {
		if now, err := os.ReadFile(path); err == nil && kind(now) == reference {
			restore()
		}
	}
}

func (u undo) all() {
	for i := len(u) - 1; i >= 0; i-- {
		u[i]()
	}
}
