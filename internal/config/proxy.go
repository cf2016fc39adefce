package config

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// proxySchemes are those that http.Transport speaks.
func proxySchemes() []string { return []string{"http", "https", "socks5", "socks5h"} }

// parseProxy reads HOST:PORT, for an http proxy, or SCHEME://HOST:PORT, each with an optional
// USER:PASSWORD@ in front of the host, and returns the second form. No error shows the value.
func parseProxy(value string) (string, error) {
	if !strings.Contains(value, "://") {
		value = "http://" + value
	}
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return "", errors.New("it is not a proxy; write http://HOST:PORT, and percent-encode special characters of a password")
	case !slices.Contains(proxySchemes(), u.Scheme):
		return "", errors.New("its scheme is none of " + strings.Join(proxySchemes(), ", "))
	case u.Hostname() == "" || u.Port() == "":
		return "", errors.New("it names no host or no port; write http://HOST:PORT")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return "", errors.New("it has more than host and port; write http://HOST:PORT")
	}
	if err := checkPort(u); err != nil {
		return "", err
	}
	u.Path = ""
	return u.String(), nil
}

func checkPort(u *url.URL) error {
	if u.Port() == "" {
		return nil
	}
	if n, err := strconv.Atoi(u.Port()); err != nil || n < 1 || n > 65535 {
		return errors.New("its port is not a number from 1 to 65535")
	}
	return nil
}

// Secrets lists the texts that a log must not show: the token, what may be one in the wrong
// variable, and proxy passwords. It is meant for logging.Redactor.
func (c *Config) Secrets() []string {
	var list []string
	for _, token := range []Secret{c.APIToken, c.misplaced} {
		if !token.IsZero() {
			list = append(list, token.Reveal())
		}
	}
	for _, proxy := range []string{c.HTTPProxy, c.HTTPSProxy} {
		u, err := url.Parse(proxy)
		if err != nil || u.User == nil {
			continue
		}
		if password, set := u.User.Password(); set && password != "" {
			list = append(list, password)
		}
	}
	return list
}
