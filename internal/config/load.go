package config

import (
	"errors"
	"fmt"
	"strings"
)

// Load reads the settings from environment variables ("NAME=value", as os.Environ
// returns them) and from the JSON file that one of them may name. Relative paths are
// resolved against dir.
//
// The error joins every problem, one line each, with the setting's name and origin and
// what to write instead. The Config is never nil: it holds what was valid, so that the
// log settings can show the error. Organization and token may be missing: a PIN can
// bring them (see CheckCredentials).
func Load(environ []string, dir string) (*Config, error) {
	c := &Config{sources: map[string]string{}}
	p := &parser{dir: dir}
	env := variables(environ)
	var problems []error
	for _, s := range settings() {
		if s.fallback != "" {
			if err := s.set(p, c, s.fallback); err != nil {
				problems = append(problems, err)
			}
		}
		for _, name := range s.env {
			if env[name] == "" {
				continue
			}
			c.sources[s.name()] = "environment variable " + name
			if err := s.set(p, c, env[name]); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", name, err))
			}
			break
		}
	}
	return c, errors.Join(problems...)
}

// variables turns the environment into a map; as in libc, the first of equal names counts.
func variables(environ []string) map[string]string {
	env := make(map[string]string, len(environ))
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if _, seen := env[name]; ok && !seen {
			env[name] = value
		}
	}
	return env
}
