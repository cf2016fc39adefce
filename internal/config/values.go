package config

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"signkit/internal/logging"
)

type (
	logLevel = logging.Level
	duration = time.Duration
	setter   = func(p *parser, c *Config, value string) error
)

// parser is what a setter needs besides the value.
type parser struct{ dir string }

// absolute resolves a path against the directory that Load was given.
func (p *parser) absolute(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.dir, name)
}

func text(field func(*Config) *string) setter {
	return func(_ *parser, c *Config, value string) error {
		*field(c) = strings.TrimSpace(value)
		return nil
	}
}

func path(field func(*Config) *string) setter {
	return func(p *parser, c *Config, value string) error {
		if strings.ContainsRune(value, 0) {
			return errors.New("it holds a NUL byte; give the path of a file")
		}
		*field(c) = p.absolute(value)
		return nil
	}
}

func pathList(field func(*Config) *string) setter {
	return func(p *parser, c *Config, value string) error {
		list := filepath.SplitList(value)
		for i := range list {
			list[i] = p.absolute(list[i])
		}
		*field(c) = strings.Join(list, string(filepath.ListSeparator))
		return nil
	}
}

func boolean(field func(*Config) *bool) setter {
	return func(_ *parser, c *Config, value string) error {
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "true", "1":
			*field(c) = true
		case "false", "0":
			*field(c) = false
		default:
			return fmt.Errorf("%s is neither true nor false; use one of them", quote(value))
		}
		return nil
	}
}

func integer(field func(*Config) *int, low, high int) setter {
	return func(_ *parser, c *Config, value string) error {
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || n != math.Trunc(n) || n < float64(low) || n > float64(high) {
			return fmt.Errorf("%s is not a whole number from %d to %d", quote(value), low, high)
		}
		*field(c) = int(n)
		return nil
	}
}

// isDecimal keeps out what strconv.ParseFloat takes besides decimal numbers: 0x1p-2, Inf, .5
func isDecimal(s string) bool {
	const digits = "0123456789"
	return s != "" && strings.Trim(s, digits+".eE+-") == "" &&
		strings.IndexByte(digits, s[0]) >= 0 && strings.IndexByte(digits, s[len(s)-1]) >= 0
}

func seconds(field func(*Config) *duration, low, high float64) setter {
	return func(_ *parser, c *Config, value string) error {
		word := strings.TrimSpace(value)
		n, err := strconv.ParseFloat(word, 64)
		if !isDecimal(word) || errors.Is(err, strconv.ErrSyntax) {
			return fmt.Errorf("%s is not a number of seconds; write digits with a decimal point, such as 1.16", quote(value))
		}
		if err != nil || n < low || n > high {
			return fmt.Errorf("%s seconds are out of range; use %v to %v", word, low, high)
		}
		*field(c) = time.Duration(math.Round(n * float64(time.Second)))
		return nil
	}
}

func level(field func(*Config) *logLevel) setter {
	return func(_ *parser, c *Config, value string) error {
		l, err := logging.ParseLevel(value)
		if err != nil {
			return err
		}
		*field(c) = l
		return nil
	}
}

func oneOf(field func(*Config) *string, words ...string) setter {
	return func(_ *parser, c *Config, value string) error {
		word := strings.ToLower(strings.TrimSpace(value))
		if !slices.Contains(words, word) {
			return fmt.Errorf("%s is unknown; use %s", quote(value), strings.Join(words, ", "))
		}
		*field(c) = word
		return nil
	}
}

func slug(field func(*Config) *string) setter {
	return func(_ *parser, c *Config, value string) error {
		word := strings.TrimSpace(value)
		bad := func(r rune) bool { return r == '/' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
		if strings.ContainsFunc(word, bad) || word == "." || word == ".." {
			return fmt.Errorf("%s is not a slug; give the project's slug and the policy's slug in a setting each", quote(value))
		}
		*field(c) = word
		return nil
	}
}

func description(_ *parser, c *Config, value string) error {
	const longest = 1000
	if len(value) > longest {
		return fmt.Errorf("it has %d bytes; use %d at most", len(value), longest)
	}
	if strings.ContainsFunc(value, unicode.IsControl) {
		return errors.New("it holds a line break or another control character; write one line")
	}
	c.Description = value
	return nil
}
