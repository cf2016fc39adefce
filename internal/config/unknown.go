package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// quote shows text of a person's making on one line and in bounds.
func quote(s string) string {
	const longest = 100
	if len(s) <= longest {
		return fmt.Sprintf("%q", s)
	}
	end := longest
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return fmt.Sprintf("%q…", s[:end])
}

func jsonNames() []string {
	var list []string
	for _, s := range settings() {
		list = append(list, s.json...)
	}
	return list
}

// dead returns names that older programs read, and their successors.
func dead() map[string]string {
	return map[string]string{
		"SIGNPATH_LOG_LEVEL":                    "SIGNPATH_LOG_CONSOLE_LEVEL and SIGNPATH_LOG_FILE_LEVEL",
		"SIGNPATH_TIMEOUTS_SERVICE_UNAVAILABLE": "SIGNPATH_SERVICE_UNAVAILABLE_TIMEOUT_IN_SECONDS",
		"Log.Level":                             "Log.Console.Level and Log.File.Level",
		"Timeouts.ServiceUnavailable":           "ServiceUnavailableTimeoutInSeconds",
	}
}

// unknownKey says what to do about a key of the file that is no setting.
func unknownKey(known []string, key string) string {
	for name, successor := range dead() {
		if strings.EqualFold(name, key) {
			return fmt.Sprintf("%s has no effect any more; use %s", name, successor)
		}
	}
	s := settingNamed(key)
	switch {
	case key == tokenFileVariable || key == configFileVariable || s != nil && len(s.json) == 0:
		return fmt.Sprintf("%s has no effect here; set the environment variable of that name", quote(key))
	case s != nil:
		return fmt.Sprintf("%s is an environment variable; it is called %s here", quote(key), s.json[0])
	}
	return fmt.Sprintf("%s is not a setting and is ignored%s", quote(key), didYouMean(key, known))
}

// unknownVariables warns about variables that carry our prefixes and that nobody reads.
func unknownVariables(environ []string) []string {
	known := ours(EnvironmentNames())
	var warnings []string
	seen := map[string]bool{}
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if seen[name] || len(ours([]string{strings.ToUpper(name)})) == 0 {
			continue
		}
		seen[name] = true
		if warning := unknownVariable(known, name); warning != "" {
			warnings = append(warnings, warning)
		}
	}
	return warnings
}

func unknownVariable(known []string, name string) string {
	for _, k := range append(ignoredVariables(), known...) {
		if k == name {
			return ""
		}
	}
	if successor, ok := dead()[name]; ok {
		return fmt.Sprintf("environment variable %s has no effect any more; use %s", name, successor)
	}
	return fmt.Sprintf("environment variable %s is not a setting and is ignored%s", printable(name), didYouMean(name, known))
}

// printable is the name as it is, unless it would break the line.
func printable(name string) string {
	if q := quote(name); q != `"`+name+`"` {
		return q
	}
	return name
}

// ours keeps the names with our prefixes.
func ours(names []string) []string {
	var list []string
	for _, name := range names {
		if strings.HasPrefix(name, "SIGNPATH_") || strings.HasPrefix(name, "SIGNKIT_") {
			list = append(list, name)
		}
	}
	return list
}

// didYouMean names the known name that is nearest to a misspelled one, if any is near.
func didYouMean(name string, known []string) string {
	if len(name) > 200 {
		return ""
	}
	best, nearest := max(2, len(name)/3)+1, ""
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < best {
			best, nearest = d, k
		}
	}
	if nearest == "" {
		return ""
	}
	return "; did you mean " + nearest + "?"
}

// distance is the Levenshtein distance: the least number of bytes to insert, delete or
// replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}
