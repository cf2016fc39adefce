package home

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const (
	agentConfiguration = "gpg-agent.conf"
	gpgConfiguration   = "gpg.conf"
	// AgentLog is the agent's log file in a GNUPGHOME that signkit made.
	AgentLog = "gpg-agent.log"
)

// withBridge returns the text of gpg-agent.conf with the bridge as scdaemon-program. Lines that
// contradict it are kept as comments.
func withBridge(old []byte, bridge string) []byte {
	var b bytes.Buffer
	for line := range strings.Lines(string(old)) {
		line = strings.TrimRight(line, "\r\n")
		word, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		word = strings.TrimPrefix(word, "--")
		switch {
		case word == "scdaemon-program" && strings.TrimSpace(value) == bridge:
			continue // it is written at the end
		case word == "scdaemon-program", word == "disable-scdaemon":
			fmt.Fprintln(&b, "# signkit gpg init:", line)
		default:
			fmt.Fprintln(&b, line)
		}
	}
	fmt.Fprintln(&b, "scdaemon-program", bridge)
	return b.Bytes()
}

// otherProgram is the scdaemon-program that the file names, if it is not the bridge.
func otherProgram(old []byte, bridge string) string {
	for line := range strings.Lines(string(old)) {
		word, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if value = strings.TrimSpace(value); strings.TrimPrefix(word, "--") == "scdaemon-program" && value != bridge {
			return value
		}
	}
	return ""
}

// configure writes gpg-agent.conf and, in a folder of our own, gpg.conf. It returns the program
// that the bridge displaced, if any.
func (h *Home) configure(bridge, defaultKey string) (displaced string, err error) {
	old, err := os.ReadFile(h.file(agentConfiguration))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("reading the agent's configuration: %w", err)
	}
	if h.Temporary && !bytes.Contains(old, []byte("log-file ")) {
		old = fmt.Appendf(old, "log-file %s\n", h.file(AgentLog))
	}
	if err := replaceFile(h.file(agentConfiguration), withBridge(old, bridge)); err != nil {
		return "", fmt.Errorf("writing the agent's configuration: %w", err)
	}
	if !h.Temporary {
		return otherProgram(old, bridge), nil
	}
	// Tools that name no key (debsigs, gpg without -u) sign with the first one. Those that ask for
	// strict OpenPGP (debsigs before 0.2) get SHA-1 unless the key's owner prefers better.
	err = createFile(h.file(gpgConfiguration), []byte("default-key "+defaultKey+"\n"+
		"personal-digest-preferences SHA512 SHA384 SHA256\n"))
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return "", err
}
