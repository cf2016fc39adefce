package doctor

import (
	"context"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"signkit/internal/artifact"
)

// toolTimeout bounds a program that is asked for its version.
const toolTimeout = 10 * time.Second

// ask runs a program and returns all it printed; ok is false if it is not there or fails.
func (e *examination) ask(ctx context.Context, name string, args ...string) (output string, installed, ok bool) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", false, false
	}
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	command := exec.CommandContext(ctx, path, args...)
	command.Env = append([]string{}, e.Environ...)
	command.Env = append(command.Env, "LC_ALL=C.UTF-8", "PKCS11_MODULE_PATH="+e.Module, "PKCS11_PROVIDER_MODULE="+e.Module)
	command.WaitDelay = time.Second
	data, err := command.CombinedOutput()
	return string(data), true, err == nil
}

// openssl needs libp11's engine or pkcs11-provider to reach any module.
func (e *examination) openssl(ctx context.Context) {
	const area = "tools"
	version, installed, _ := e.ask(ctx, "openssl", "version")
	if !installed {
		e.skip(area, "openssl", "not installed")
		return
	}
	text := strings.Join(strings.Fields(version)[:min(2, len(strings.Fields(version)))], " ")
	var ways []string
	if _, _, ok := e.ask(ctx, "openssl", "list", "-provider", "pkcs11", "-providers"); ok {
		ways = append(ways, "provider")
	}
	if output, _, ok := e.ask(ctx, "openssl", "engine", "pkcs11"); ok && strings.Contains(output, "(pkcs11)") {
		ways = append(ways, "engine")
	}
	if len(ways) == 0 {
		e.problem(area, "openssl", text+" finds neither a PKCS#11 engine nor a provider",
			"install libengine-pkcs11-openssl or pkcs11-provider (RHEL: openssl-pkcs11 or pkcs11-provider)")
		return
	}
	e.ok(area, "openssl", text+" with "+strings.Join(ways, " and "))
}

// readWriteTools are those that open read/write sessions on a read-only token.
func (e *examination) readWriteTools(ctx context.Context) {
	const area = "pkcs11"
	if e.Config == nil || e.Config.AllowReadWriteSessions {
		return
	}
	const fix = "set SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true for it"
	if version, ok := e.version(ctx, "pkcs11-tool", "--version"); ok && version.before(0, 22) {
		e.warn(area, "pkcs11-tool", "version "+version.String()+" opens read/write sessions, which are refused", fix)
	}
	if _, err := exec.LookPath("cosign"); err == nil {
		e.warn(area, "cosign", "it opens read/write sessions, which are refused", fix)
	}
}

// toolVersions names faults of tools that look like faults of signing.
func (e *examination) toolVersions(ctx context.Context) {
	const area = "tools"
	if version, ok := e.version(ctx, "osslsigncode", "--version"); ok {
		if version.before(2, 13) {
			e.warn(area, "osslsigncode", "version "+version.String()+": verifying hostile files can corrupt memory before 2.13, unless the distribution has fixed it",
				"verify only files that you have just signed, or use 2.13")
		} else {
			e.ok(area, "osslsigncode", "version "+version.String())
		}
	}
	e.rpm(ctx)
	if output, installed, _ := e.ask(ctx, "cosign", "pkcs11-tool", "--help"); installed && strings.Contains(output, "not built with pkcs11-tool") {
		e.problem(area, "cosign", "this one was built without PKCS#11", "build cosign with the tag pkcs11key")
	}
	if output, installed, _ := e.ask(ctx, "rpm", "--eval", "%{__gpg}"); installed {
		if gpg := strings.TrimSpace(output); gpg != "" && !strings.HasPrefix(gpg, "%") {
			if _, err := exec.LookPath(gpg); err != nil {
				e.problem(area, "rpmsign", "its macro %__gpg names "+gpg+", which does not exist",
					"put the line  %__gpg /usr/bin/gpg  into /etc/rpm/macros.signing")
			}
		}
	}
}

func (e *examination) rpm(ctx context.Context) {
	const area = "tools"
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	version, ecdsa, err := artifact.RPMVersion(ctx, e.Environ)
	switch {
	case err != nil: // it is not installed, or of no use
	case !ecdsa:
		e.warn(area, "rpm", "version "+version+" cannot check ECDSA signatures", "sign rpm packages with an RSA key")
	default:
		e.ok(area, "rpm", "version "+version)
	}
}

// number is the start of a version: major and minor.
type number struct{ major, minor int }

func (n number) String() string { return strconv.Itoa(n.major) + "." + strconv.Itoa(n.minor) }

func (n number) before(major, minor int) bool {
	return n.major < major || n.major == major && n.minor < minor
}

var versionPattern = regexp.MustCompile(`(\d+)\.(\d+)`)

func (e *examination) version(ctx context.Context, tool string, args ...string) (number, bool) {
	output, _, _ := e.ask(ctx, tool, args...)
	match := versionPattern.FindStringSubmatch(output)
	if match == nil {
		return number{}, false
	}
	major, _ := strconv.Atoi(match[1])
	minor, _ := strconv.Atoi(match[2])
	return number{major, minor}, true
}
