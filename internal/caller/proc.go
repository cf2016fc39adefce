package caller

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"unicode/utf8"
)

const (
	longestRead = 256 << 10 // bytes of /proc/PID/cmdline
	longestLine = 4 << 10   // bytes of a cleaned command line
)

func commandLine(pid int, redact func(string) string) string {
	args := arguments(readAtMost(fmt.Sprintf("/proc/%d/cmdline", pid), longestRead))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	files := fileLookup{ctx, fmt.Sprintf("/proc/%d/cwd", pid), isRegular}
	line := cleanCommandLine(args, files.isFile)
	if redact != nil {
		line = redact(line)
	}
	return shorten(line)
}

// arguments splits the contents of /proc/PID/cmdline (proc(5)). An argument that
// the reading limit cut is left out: its beginning may name another file.
func arguments(data []byte) []string {
	if len(data) >= longestRead {
		data = data[:bytes.LastIndexByte(data, 0)+1]
	}
	text := strings.TrimSuffix(string(data), "\x00")
	if text == "" {
		return nil
	}
	return strings.Split(text, "\x00")
}

// shorten cuts between characters.
func shorten(line string) string {
	const mark = "…"
	if len(line) <= longestLine {
		return line
	}
	end := longestLine - len(mark)
	for end > 0 && !utf8.RuneStart(line[end]) {
		end--
	}
	return line[:end] + mark
}

// userName returns the name of the process's effective user. It comes from
// /proc/PID/status: the directory's owner is root for a process that is not dumpable.
func userName(pid int) string {
	status := readAtMost(fmt.Sprintf("/proc/%d/status", pid), 64<<10)
	uid := effectiveUID(string(status))
	if uid == "" {
		return ""
	}
	if u, err := user.LookupId(uid); err == nil && u.Username != "" {
		return u.Username
	}
	return uid
}

// effectiveUID reads the line "Uid: real effective saved filesystem".
func effectiveUID(status string) string {
	for line := range strings.Lines(status) {
		fields := strings.Fields(line)
		if len(fields) >= 3 && fields[0] == "Uid:" {
			return fields[2]
		}
	}
	return ""
}

func readAtMost(name string, limit int64) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil
	}
	return data
}
