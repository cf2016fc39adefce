package logging

import (
	"fmt"
	"log/slog"
	"strings"
)

// Level is a threshold as the settings name it: a sink set to Warning takes
// warnings, errors and fatal errors. The zero value takes nothing.
type Level int

// The levels of the specification, from the quietest to the loudest.
const (
	None Level = iota
	Fatal
	Error
	Warning
	Info
	Debug
	Verbose
)

// nothing is above every record.
const nothing slog.Level = 1 << 20

// levels has one row per Level, in the order of the constants: the word used in
// settings and records, and the lowest record level the threshold lets through.
var levels = [...]struct {
	name   string
	lowest slog.Level
}{
	None:    {"none", nothing},
	Fatal:   {"fatal", nothing}, // of the specification; no record is graver than error
	Error:   {"error", slog.LevelError},
	Warning: {"warning", slog.LevelWarn},
	Info:    {"info", slog.LevelInfo},
	Debug:   {"debug", slog.LevelDebug},
	Verbose: {"verbose", slog.LevelDebug}, // the same: none is more detailed than debug
}

// ParseLevel reads the name of a level; case and surrounding white space do not matter.
func ParseLevel(s string) (Level, error) {
	word := strings.ToLower(strings.TrimSpace(s))
	for level, row := range levels {
		if row.name == word {
			return Level(level), nil
		}
	}
	return None, fmt.Errorf("%q is not a log level; use none, fatal, error, warning, info, debug or verbose", s)
}

// String returns the name that ParseLevel reads.
func (l Level) String() string {
	if l < None || l > Verbose {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return levels[l].name
}

// Slog returns the lowest level of a record that the threshold lets through.
func (l Level) Slog() slog.Level {
	if l < None || l > Verbose {
		return levels[None].lowest
	}
	return levels[l].lowest
}

// takes reports whether a sink set to l wants a record of the given level.
func (l Level) takes(record slog.Level) bool { return record >= l.Slog() }

// levelName is the word a record of that level carries.
func levelName(record slog.Level) string {
	for level := Error; level < Debug; level++ {
		if levels[level].lowest <= record {
			return levels[level].name
		}
	}
	return levels[Debug].name
}
