package home

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// MissingError reports a program that is not installed.
type MissingError struct{ Program string }

func (e *MissingError) Error() string { return e.Program + " is not installed (not found in PATH)" }

// CheckPrograms looks for what a set-up needs.
func CheckPrograms() error {
	for _, program := range []string{"gpg", "gpg-agent", "gpgconf"} {
		if _, err := exec.LookPath(program); err != nil {
			return &MissingError{program}
		}
	}
	return nil
}

// run runs one of GnuPG's programs with this home and without a terminal.
func (h *Home) run(ctx context.Context, environ []string, stdin []byte, program string, args ...string) ([]byte, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, &MissingError{program}
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--homedir", h.Dir}, args...)...)
	cmd.Env = append(environ, "GNUPGHOME="+h.Dir, "LC_ALL=C")
	cmd.Dir = "/"
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s %s: %w%s", program, strings.Join(args, " "), err, said(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}

// said is what a program wrote to standard error, on one line.
func said(stderr []byte) string {
	if text := strings.Join(strings.Fields(string(stderr)), " "); text != "" {
		return ": " + text
	}
	return ""
}

// directories asks gpgconf where GnuPG looks for what belongs to this home. The sockets are in the
// home or, where /run/user has a folder for the user, in a folder below that, which gpgconf then makes.
func (h *Home) directories(ctx context.Context) (map[string]string, error) {
	out, err := h.run(ctx, os.Environ(), nil, "gpgconf", "--list-dirs")
	if err != nil {
		return nil, err
	}
	dirs := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if dirs[name], err = url.PathUnescape(value); err != nil {
			return nil, fmt.Errorf("gpgconf --list-dirs says %q: %w", line, err)
		}
	}
	return dirs, nil
}

// AgentSocket is where gpg looks for the agent of this home.
func (h *Home) AgentSocket(ctx context.Context) (string, error) {
	dirs, err := h.directories(ctx)
	if err == nil && dirs[gpgAgent.directory] == "" {
		err = fmt.Errorf("gpgconf --list-dirs names no %s", gpgAgent.directory)
	}
	return dirs[gpgAgent.directory], err
}

// settledSocket is AgentSocket before there is an agent. Whichever program of GnuPG comes first makes /run/user/UID/gnupg, and
// one that loses the race for it takes the home instead (seen with gpgconf 2.2.40): the agent would then be elsewhere than where it
// is looked for. A second question finds the folder there.
func (h *Home) settledSocket(ctx context.Context) (string, error) {
	socket, err := h.AgentSocket(ctx)
	if err != nil || filepath.Dir(socket) != h.Dir {
		return socket, err
	}
	return h.AgentSocket(ctx)
}

// startAgent starts gpg-agent in the given environment, which it and the bridge keep. It must answer at
// the socket.
func (h *Home) startAgent(ctx context.Context, environ []string, socket string) error {
	path, err := exec.LookPath("gpg-agent")
	if err != nil {
		return &MissingError{"gpg-agent"}
	}
	// A file, and not a pipe: the agent may keep it open.
	complaints, err := os.CreateTemp(h.Dir, ".agent-*")
	if err != nil {
		return err
	}
	defer os.Remove(complaints.Name())
	defer complaints.Close()
	cmd := exec.CommandContext(ctx, path, "--homedir", h.Dir, "--daemon")
	cmd.Env = append(environ, "GNUPGHOME="+h.Dir)
	cmd.Dir = "/"
	cmd.Stderr = complaints
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(complaints.Name())
		return fmt.Errorf("starting gpg-agent: %w%s", err, said(text))
	}
	if _, err := ask(ctx, socket, "GETINFO pid"); err != nil {
		text, _ := os.ReadFile(complaints.Name())
		return fmt.Errorf("gpg-agent does not answer after its start: %w%s", err, said(text))
	}
	return nil
}

// withoutCredentials is what gpg runs in: where it starts a daemon by itself, that must not keep a token.
func withoutCredentials(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		return strings.HasPrefix(entry, "SIGNPATH_") || strings.HasPrefix(entry, "SIGNKIT_")
	})
}

// importKey adds a transferable public key to the keyring.
func (h *Home) importKey(ctx context.Context, environ []string, fingerprint string, public []byte) error {
	out, err := h.run(ctx, withoutCredentials(environ), public, "gpg", "--batch", "--no-tty", "--quiet", "--status-fd", "1", "--import")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) == 4 && fields[1] == "IMPORT_OK" && fields[3] == fingerprint {
			return nil
		}
	}
	return fmt.Errorf("gpg --import does not report the key %s%s", fingerprint, said(out))
}

// checkSecret asks gpg whether it can sign with a key: it lists it as a secret key whose private
// half is not missing (doc/DETAILS of GnuPG, fields 1, 2 and 15).
func (h *Home) checkSecret(ctx context.Context, environ []string, fingerprint string) error {
	out, err := h.run(ctx, withoutCredentials(environ), nil, "gpg", "--batch", "--no-tty", "--with-colons", "--list-secret-keys", fingerprint)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(line, ":")
		if fields[0] == "sec" && len(fields) > 14 {
			if fields[14] == "#" {
				return errors.New("gpg knows the public key but not how to reach the private one")
			}
			return nil
		}
	}
	return errors.New("gpg does not list the key as one it can sign with")
}
