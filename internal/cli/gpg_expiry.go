package cli

import (
	"regexp"
	"strconv"
	"time"
)

// parseExpiry reads when a key ends, as gpg takes it: a number of days (d, or nothing), weeks,
// months or years from now, a date, or "never" (the zero time).
func parseExpiry(s string, now time.Time) (time.Time, error) {
	if s == "never" || s == "0" {
		return time.Time{}, nil
	}
	if date, err := time.Parse(time.DateOnly, s); err == nil {
		if !date.After(now) {
			return time.Time{}, usageError("--expires %s has passed", s)
		}
		return date, nil
	}
	parts := regexp.MustCompile(`^([0-9]{1,4})([dwmy]?)$`).FindStringSubmatch(s)
	if parts == nil {
		return time.Time{}, withHint(usageError("--expires %q is not a time", s),
			"write 2y, 18m, 8w, 90d, a date as 2030-12-31, or never")
	}
	n, err := strconv.Atoi(parts[1])
	if err != nil || n == 0 {
		return time.Time{}, usageError("--expires %q is not a time", s)
	}
	now = now.UTC().Truncate(time.Second)
	switch parts[2] {
	case "w":
		return now.AddDate(0, 0, 7*n), nil
	case "m":
		return now.AddDate(0, n, 0), nil
	case "y":
		return now.AddDate(n, 0, 0), nil
	}
	return now.AddDate(0, 0, n), nil
}
