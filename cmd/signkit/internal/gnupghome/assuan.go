package gnupghome

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// ErrNotRunning reports that no agent listens in a GNUPGHOME.
var ErrNotRunning = errors.New("no gpg-agent is running")

// AgentError is an ERR line: GnuPG's number (source and code) and its text.
type AgentError struct{ Command, Text string }

func (e *AgentError) Error() string {
	return fmt.Sprintf("gpg-agent answers %s with: %s", e.Command, e.Text)
}

// ask sends one command to the agent and returns its data lines. Unlike gpg and
// gpg-connect-agent it never starts an agent, which would run in the wrong environment.
func (h *Home) ask(ctx context.Context, command string) (string, error) {
	socket, err := h.socket(ctx)
	if err != nil {
		return "", err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return "", fmt.Errorf("%w (%w)", ErrNotRunning, err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
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
func (h *Home) AgentPID(ctx context.Context) (string, error) { return h.ask(ctx, "GETINFO pid") }

// BridgeVersion asks the bridge through the running agent, which starts it where it is not
// running.
func (h *Home) BridgeVersion(ctx context.Context) (string, error) {
	return h.ask(ctx, "SCD GETINFO version")
}

const (
	agentTime = 10 * time.Second      // for one question to an agent, or for its end
	agentPoll = 10 * time.Millisecond // between looks at whether it has ended
)

// End stops the agent, and with it the bridge, and removes the folder if Create made it. It is
// no error when there is no agent.
func (h *Home) End(ctx context.Context) error {
	return errors.Join(h.stopAgent(ctx), h.remove())
}

func (h *Home) stopAgent(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, agentTime)
	defer cancel()
	if _, err := h.ask(ctx, "KILLAGENT"); errors.Is(err, ErrNotRunning) {
		return nil
	} else if err != nil {
		return err
	}
	// Its socket goes when it ends. The process may stay as a zombie where nothing reaps it.
	for {
		if _, err := h.AgentPID(ctx); errors.Is(err, ErrNotRunning) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("gpg-agent did not end when it was told to")
		case <-time.After(agentPoll):
		}
	}
}
