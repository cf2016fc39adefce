package caller

import (
	"runtime"
	"strconv"
	"strings"
)

// osVersion is the distribution's name and version, such as "Debian 12" or "Red Hat
// Enterprise Linux 9.4"; the file is looked for where os-release(5) says.
func osVersion() string {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if version := parseOSRelease(string(readAtMost(name, 64<<10))); version != "" {
			return version
		}
	}
	return ""
}

func parseOSRelease(text string) string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok {
			values[key] = unquote(value)
		}
	}
	name := strings.TrimSuffix(values["NAME"], " GNU/Linux") // "Debian 12", as the service's users know it
	return strings.TrimSpace(name + " " + values["VERSION_ID"])
}

// unquote removes the shell quotes of os-release values.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return s[1 : len(s)-1]
	}
	if plain, err := strconv.Unquote(s); err == nil {
		return plain
	}
	return s
}

// architecture is the processor in the service's words.
func architecture() string {
	switch runtime.GOARCH {
	case "amd64":
		return "x64"
	case "386":
		return "x86"
	}
	return runtime.GOARCH
}
