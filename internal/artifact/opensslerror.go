package artifact

import (
	"regexp"
	"strings"
)

// opensslError is a line of OpenSSL's error queue as ERR_print_errors(3) writes it, for 1.1.1 and 3: the thread, "error", the
// code, then library, function, reason, source file, line, and what the function added.
var opensslError = regexp.MustCompile(`^[0-9A-F]+:error:[0-9A-F]{8}:([^:]*):[^:]*:([^:]*):[^:]*:\d+:(.*)$`)

// opensslCause finds, in what a tool printed, the reason for which OpenSSL failed; empty if there is no error queue in it. The
// queue is printed with the oldest error first. That is the cause: each caller on the way out adds an error of its own, and
// the last one often says as little as "malloc failure". Of several queues the last one is that of the failure.
func opensslCause(output string) string {
	cause, inside := "", false
	for line := range strings.Lines(output) {
		match := opensslError.FindStringSubmatch(strings.TrimSpace(line))
		if match == nil {
			inside = false
			continue
		}
		library, reason, added := match[1], match[2], strings.TrimSpace(match[3])
		// OpenSSL 3.0 asks its store for a scheme "file" before it opens any file.
		if inside || reason == "unregistered scheme" {
			continue
		}
		inside = true
		cause = library + ": " + reason
		if added != "" {
			cause += ": " + added
		}
	}
	return cause
}
