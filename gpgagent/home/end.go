package home

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	tellTime = 3 * time.Second       // for a daemon to end when it is told to, before it is killed where that may be
	endTime  = 20 * time.Second      // for all of them to end, and for what they leave to be removed
	endPoll  = 10 * time.Millisecond // between looks at whether they have ended
)

// daemon is a program of GnuPG that stays behind a GNUPGHOME.
type daemon struct {
	directory string // what gpgconf --list-dirs calls its socket
	socket    string // the socket's name
	end       string // the command that ends it
}

var gpgAgent = daemon{"agent-socket", "S.gpg-agent", "KILLAGENT"}

// daemons are those that gpg starts by itself. In a folder that somebody else made only the agent is
// ours to end.
func (h *Home) daemons() []daemon {
	if !h.Temporary {
		return []daemon{gpgAgent}
	}
	return []daemon{gpgAgent, {"keyboxd-socket", "S.keyboxd", "KILLKEYBOXD"}, {"dirmngr-socket", "S.dirmngr", "KILLDIRMNGR"}}
}

// End stops the agent, and with it the bridge, and removes the folder if Create made it. It is
// no error when there is no agent.
func (h *Home) End(ctx context.Context) error {
	h.endWatch()
	return errors.Join(h.stop(ctx), h.remove(ctx))
}

// stop ends the daemons of this home.
func (h *Home) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	dirs, err := h.directories(ctx)
	if !h.Temporary {
		h.endWatch() // it was for the agent that ends now
		return errors.Join(err, h.tell(ctx, dirs))
	}
	// Whatever is answered: no process may stay.
	short, cancelShort := context.WithTimeout(ctx, tellTime)
	defer cancelShort()
	_ = h.tell(short, dirs)
	return h.endProcesses(ctx)
}

// tell says to the daemons that they are to end.
func (h *Home) tell(ctx context.Context, dirs map[string]string) error {
	var errs []error
	for _, d := range h.daemons() {
		for _, socket := range h.sockets(dirs, d) {
			errs = append(errs, d.stop(ctx, socket))
		}
	}
	return errors.Join(errs...)
}

// sockets are the places where a daemon of this home may listen: where gpg looks for it now, and the
// home itself, since gpg looks elsewhere from the moment on at which /run/user has a folder for the
// user.
func (h *Home) sockets(dirs map[string]string, d daemon) []string {
	list := []string{h.file(d.socket)}
	if named := dirs[d.directory]; named != "" && named != list[0] {
		list = append(list, named)
	}
	return list
}

// stop tells a daemon to end, and waits until nobody listens at its socket: the process may stay as a
// zombie where nothing reaps it.
func (d daemon) stop(ctx context.Context, socket string) error {
	_, err := ask(ctx, socket, d.end)
	if err != nil && !errors.Is(err, ErrNotRunning) {
		return fmt.Errorf("ending what listens at %s: %w", socket, err)
	}
	for !errors.Is(err, ErrNotRunning) {
		if pause(ctx) != nil {
			return fmt.Errorf("what listens at %s did not end when it was told to", socket)
		}
		_, err = ask(ctx, socket, "GETINFO pid")
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(endPoll):
		return nil
	}
}

// endProcesses ends the processes that were started for this home and are still there: the bridge,
// which ends with the agent, and a daemon that does not answer or whose socket has gone.
func (h *Home) endProcesses(ctx context.Context) error {
	killed := time.Now().Add(tellTime)
	for told := false; ; told = true {
		left := h.processes()
		if len(left) == 0 {
			return nil
		}
		for _, p := range left {
			switch {
			case time.Now().After(killed):
				_ = p.Kill()
			case !told:
				_ = p.Signal(syscall.SIGTERM)
			}
			_ = p.Release()
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%d processes of %s do not end: %w", len(left), h.Dir, err)
		}
	}
}

// processes are the daemons and bridges whose command line names this home. A home that Create made
// has a name that no other has, in another container neither.
func (h *Home) processes() []*os.Process { return h.processesWith("--daemon", "--multi-server") }

// endWatch ends the processes that wait for the end of this home's maker.
func (h *Home) endWatch() {
	for _, p := range h.processesWith(WatchWord) {
		_ = p.Kill()
		_ = p.Release()
	}
}

// processesWith are those whose command line names this home and has one of the words, without this one.
func (h *Home) processesWith(words ...string) []*os.Process {
	var found []*os.Process
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		if !h.isNamedIn(path, words) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, err := os.FindProcess(pid) // a handle: the number may be another's by now
		if err == nil && h.isNamedIn(path, words) && p.Signal(syscall.Signal(0)) == nil {
			found = append(found, p)
		}
	}
	return found
}

func (h *Home) isNamedIn(commandLine string, words []string) bool {
	data, err := os.ReadFile(commandLine)
	if err != nil {
		return false
	}
	args := strings.Split(string(data), "\x00")
	home := slices.Index(args, "--homedir")
	return home >= 0 && home+1 < len(args) && args[home+1] == h.Dir &&
		slices.ContainsFunc(words, func(word string) bool { return slices.Contains(args, word) })
}

// remove deletes a folder that Create made, and the folder for its sockets in /run/user. The bridge
// or gpg may be writing its last files.
func (h *Home) remove(ctx context.Context) error {
	if !h.Temporary {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	// Without such a folder gpgconf says so and ends well.
	_, errSockets := h.run(ctx, os.Environ(), nil, "gpgconf", "--remove-socketdir")
	var err error
	for range 5 {
		if err = os.RemoveAll(h.Dir); err == nil {
			return errSockets
		}
	}
	return errors.Join(errSockets, fmt.Errorf("removing the temporary GNUPGHOME: %w", err))
}
