package home

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// ErrNotRunning reports that no agent listens in a GNUPGHOME.
var ErrNotRunning = errors.New("no gpg-agent is running")

// AgentError is an ERR line: GnuPG's number (source and code) and its text.
type AgentError struct{ Command, Text string }

func (e *AgentError) Error() string {
	return fmt.Sprintf("gpg-agent answers %s with: %s", e.Command, e.Text)
}

// ask sends one command to the daemon behind a socket and returns its data lines. Unlike gpg and
// gpg-connect-agent it never starts a daemon, which would run in the wrong environment.
func ask(ctx context.Context, socket, command string) (string, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return "", fmt.Errorf("%w (%w)", ErrNotRunning, err)
	}
	if err != nil {
		return "", fmt.Errorf("asking gpg-agent: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	lines := bufio.NewScanner(conn)
	if _, err := answer(lines, "the connection"); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return "", fmt.Errorf("asking gpg-agent: %w", err)
	}
	return answer(lines, command)
}

// answer reads up to OK or ERR (Assuan, "Server responses").
func answer(lines *bufio.Scanner, command string) (string, error) {
	var data strings.Builder
	for lines.Scan() {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "OK":
			return data.String(), nil
		case "ERR":
			_, text, _ := strings.Cut(rest, " ")
			return "", &AgentError{command, text}
		case "D":
			// PathUnescape is the percent decoding of Assuan's data lines: "+" stays.
			text, err := url.PathUnescape(rest)
			if err != nil {
				return "", fmt.Errorf("gpg-agent's answer to %s: %w", command, err)
			}
			data.WriteString(text)
		}
	}
	err := lines.Err()
	if err == nil {
		err = errors.New("it ended the connection")
	}
	return "", fmt.Errorf("gpg-agent's answer to %s: %w", command, err)
}

// AgentPID asks the running agent; ErrNotRunning without one.
func (h *Home) AgentPID(ctx context.Context) (string, error) { return h.askAgent(ctx, "GETINFO pid") }

// BridgeVersion asks the bridge through the running agent, which starts it where it is not
// running.
func (h *Home) BridgeVersion(ctx context.Context) (string, error) {
	return h.askAgent(ctx, "SCD GETINFO version")
}

func (h *Home) askAgent(ctx context.Context, command string) (string, error) {
	socket, err := h.AgentSocket(ctx)
	if err != nil {
		return "", err
	}
	return ask(ctx, socket, command)
}
