package doctor

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	gnupghome "signkit/gpgagent/home"
)

const bridgeTimeout = 10 * time.Second

// bridge starts signkit-scdaemon and asks it for its version, as gpg-agent does first.
func (e *examination) bridge(ctx context.Context) {
	const area = "gpg"
	if e.Bridge == "" {
		e.problem(area, "bridge", "signkit-scdaemon is not installed", "install signkit as a whole, or name it in SIGNKIT_SCDAEMON")
		return
	}
	version, err := e.askBridge(ctx)
	if err != nil {
		e.problem(area, "bridge", e.Bridge+": "+err.Error(), "install signkit as a whole, of one version")
		return
	}
	e.ok(area, "bridge", e.Bridge+" answers: "+version)
}

func (e *examination) askBridge(ctx context.Context) (string, error) {
	home, err := os.MkdirTemp("", "signkit-doctor-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(home)
	ctx, cancel := context.WithTimeout(ctx, bridgeTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, e.Bridge, "--multi-server", "--homedir", home)
	command.Env = append(append([]string{}, e.Environ...), "GNUPGHOME="+home)
	command.WaitDelay = time.Second
	in, err := command.StdinPipe()
	if err != nil {
		return "", err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := command.Start(); err != nil {
		return "", err
	}
	defer func() {
		in.Close()
		_ = command.Wait() // what it said counts
	}()
	return talk(in, bufio.NewReader(out))
}

// talk reads the greeting and asks for the version (Assuan: D line, then OK).
func talk(in io.Writer, out *bufio.Reader) (string, error) {
	greeting, err := out.ReadString('\n')
	if err != nil || !strings.HasPrefix(greeting, "OK") {
		return "", fmt.Errorf("no greeting but %q", strings.TrimSpace(greeting))
	}
	if _, err := io.WriteString(in, "GETINFO version\n"); err != nil {
		return "", err
	}
	version := ""
	for {
		line, err := out.ReadString('\n')
		if err != nil {
			return "", fmt.Errorf("no answer: %w", err)
		}
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "D "):
			version = line[2:]
		case strings.HasPrefix(line, "OK"):
			_, err := io.WriteString(in, "BYE\n")
			return version, err
		case strings.HasPrefix(line, "ERR"):
			return "", fmt.Errorf("it answers %q", line)
		}
	}
}

// gnupgHome looks at the GNUPGHOME in use, or at the place where gpg init would make one.
func (e *examination) gnupgHome(ctx context.Context) {
	const area = "gpg"
	home := lookup(e.Environ, "GNUPGHOME")
	if home == "" {
		home = filepath.Join(os.TempDir(), "signkit-gpg-0123456789") // as long as the names that gpg init makes
		if len(home) > gnupghome.LongestPath {
			e.problem(area, "GNUPGHOME", fmt.Sprintf("below %s its path has %d characters; sockets allow %d", os.TempDir(), len(home), gnupghome.LongestPath),
				"set TMPDIR=/tmp, or another short folder")
		}
		return
	}
	info, err := os.Stat(home)
	switch {
	case len(home) > gnupghome.LongestPath:
		e.problem(area, "GNUPGHOME", fmt.Sprintf("%s has %d characters; sockets allow %d", home, len(home), gnupghome.LongestPath),
			`use a short path, such as the one of eval "$(signkit gpg init)"`)
	case err != nil:
		e.problem(area, "GNUPGHOME", err.Error(), `eval "$(signkit gpg init)" makes one`)
	case info.Mode().Perm()&0o077 != 0:
		e.warn(area, "GNUPGHOME", fmt.Sprintf("%s can be used by others (mode %04o)", home, info.Mode().Perm()), "chmod 700 "+home)
	default:
		e.ok(area, "GNUPGHOME", home)
		e.agent(ctx, home)
	}
}

// agent greets the gpg-agent of a home. gpg starts one by itself where there is none; one that does not answer keeps gpg
// waiting.
func (e *examination) agent(ctx context.Context, home string) {
	const area = "gpg"
	home, err := filepath.Abs(home)
	if err != nil {
		return
	}
	socket, err := (&gnupghome.Home{Dir: home}).AgentSocket(ctx)
	if err != nil {
		return // without gpgconf, which is a finding of its own
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return // elsewhere (a redirection), or not yet
	}
	if err := greet(socket); err != nil {
		e.problem(area, "agent", fmt.Sprintf("nobody answers at %s: %v", socket, err),
			`signkit gpg kill, then eval "$(signkit gpg init)" in the environment that signs`)
		return
	}
	e.ok(area, "agent", "answers")
}

func greet(socket string) error {
	conn, err := net.DialTimeout("unix", socket, bridgeTimeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(bridgeTimeout)); err != nil {
		return err
	}
	greeting, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(greeting, "OK") {
		err = fmt.Errorf("no greeting but %q", strings.TrimSpace(greeting))
	}
	return err
}

func (e *examination) gpgPrograms(ctx context.Context) {
	const area = "gpg"
	for _, program := range []string{"gpg", "gpg-agent", "gpgconf"} {
		if _, err := exec.LookPath(program); err != nil {
			e.problem(area, program, "not installed", "install the packages gpg, gpg-agent and gpgconf (RHEL: gnupg2)")
			return
		}
	}
	if version, ok := e.version(ctx, "gpg", "--version"); ok {
		e.ok(area, "gpg", "version "+version.String())
	}
	e.keyboxd(ctx)
}

// keyboxd: gpg as the system configures it may keep public keys in a program that is a package of its own.
func (e *examination) keyboxd(ctx context.Context) {
	home, err := gnupghome.Create(os.TempDir())
	if err != nil {
		return // a finding of its own
	}
	defer func() { _ = home.End(context.WithoutCancel(ctx)) }()
	if err := home.MissingKeyboxd(ctx); err != nil {
		e.problem("gpg", "keyboxd", err.Error(), gnupghome.KeyboxdHint)
	}
}

// lookup takes the first of equal names, as libc does.
func lookup(environ []string, name string) string {
	for _, entry := range environ {
		if key, value, ok := strings.Cut(entry, "="); ok && key == name {
			return value
		}
	}
	return ""
}
