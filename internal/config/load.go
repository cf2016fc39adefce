package config

import (
	"errors"
	"fmt"
	"strings"
)

// Load reads the settings from environment variables ("NAME=value", as os.Environ
// returns them) and from the JSON file that SIGNPATH_CONFIG_FILE names. The environment
// wins over the file; an empty variable counts as not set. Relative paths are resolved
// against dir.
//
// The error joins every problem, one line each, with the setting's name and origin and
// what to write instead. The Config is never nil: it holds what was valid, so that the
// log settings can show the error. Organization and token may be missing: a PIN can
// bring them (see CheckCredentials).
func Load(environ []string, dir string) (*Config, error) {
	l := &loader{
		parser: parser{dir: dir},
		config: &Config{sources: map[string]string{}},
		env:    variables(environ),
		file:   &file{},
	}
	l.readFile()
	for _, s := range settings() {
		l.load(&s)
	}
	l.config.CI = readCI(l.env)
	l.config.warnings = append(l.config.warnings, unknownVariables(environ)...)
	return l.config, errors.Join(l.problems...)
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

// loader is one run of Load.
type loader struct {
	parser
	config   *Config
	env      map[string]string
	file     *file
	problems []error
}

func (l *loader) fail(where string, err error) {
	l.problems = append(l.problems, fmt.Errorf("%s: %w", where, err))
}

func (l *loader) readFile() {
	name := l.absolute(l.env[configFileVariable])
	if name == "" {
		return
	}
	f, err := readFile(name)
	if err != nil {
		l.fail("configuration file of SIGNPATH_CONFIG_FILE", err)
		return
	}
	l.file = f
	l.config.warnings = append(l.config.warnings, f.warnings...)
}

// load applies the default of one setting and then the value that was given, if any: an
// invalid one leaves the default.
func (l *loader) load(s *setting) {
	if s.fallback != "" {
		if err := s.set(&l.parser, l.config, s.fallback); err != nil {
			l.fail("default of "+s.name(), err)
		}
	}
	if l.fromTokenFile(s) || l.fromEnvironment(s) {
		return
	}
	l.fromFile(s)
}

func (l *loader) apply(s *setting, value, where, source string) {
	if err := s.set(&l.parser, l.config, value); err != nil {
		l.fail(where, err)
		return
	}
	l.config.sources[s.name()] = source
}

// fromEnvironment takes the first of the setting's variables that is set.
func (l *loader) fromEnvironment(s *setting) bool {
	chosen := ""
	for _, name := range s.env {
		switch {
		case l.env[name] == "":
		case chosen == "":
			chosen = name
		case !strings.EqualFold(name, chosen):
			l.config.warn("environment variables %s and %s are both set: the first counts; remove the second", chosen, name)
		}
	}
	if chosen == "" {
		return false
	}
	source := "environment variable " + chosen
	l.apply(s, l.env[chosen], source, source)
	return true
}

// fromFile takes the first of the setting's names that the file has.
func (l *loader) fromFile(s *setting) {
	chosen := ""
	for _, name := range s.json {
		switch {
		case !l.file.has(name):
		case chosen == "":
			chosen = name
		default:
			l.config.warn("file %s has %s and %s: the first counts; remove the second", l.file.name, chosen, name)
		}
	}
	if chosen == "" {
		return
	}
	v := l.file.values[chosen]
	where := fmt.Sprintf("%s in file %s, line %d", chosen, l.file.name, v.line)
	if v.list {
		l.fail(where, errors.New("it is a list; write one value"))
		return
	}
	l.apply(s, v.text, where, "file "+l.file.name)
}

// fromTokenFile handles SIGNPATH_API_TOKEN_FILE, which stands beside the variables of
// the token and excludes them.
func (l *loader) fromTokenFile(s *setting) bool {
	if s.name() != tokenSetting || l.env[tokenFileVariable] == "" {
		return false
	}
	for _, name := range s.env {
		if l.env[name] != "" {
			l.fail("environment variables "+tokenFileVariable+" and "+name, errors.New("both are set; unset one of them"))
			return true
		}
	}
	path := l.absolute(l.env[tokenFileVariable])
	where := fmt.Sprintf("the file that environment variable %s names", tokenFileVariable)
	token, err := readTokenFile(path)
	if errors.Is(err, errNoTokenFile) {
		l.config.misplaced = NewSecret(l.env[tokenFileVariable])
	}
	if err != nil {
		l.fail("environment variable "+tokenFileVariable, err)
		return true
	}
	l.apply(s, token, where, where)
	return true
}
