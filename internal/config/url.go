package config

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

func setAPIURL(_ *parser, c *Config, value string) error {
	u, err := url.Parse(strings.TrimSpace(value))
	if err != nil {
		return errors.New("it is not a URL; write https://HOST/Api") // the parser's text would show a password
	}
	if err := checkAPIURL(u); err != nil {
		return err
	}
	c.APIURL = strings.TrimSuffix(u.String(), "/")
	return nil
}

func checkAPIURL(u *url.URL) error {
	switch {
	case u.User != nil:
		return errors.New("it holds a user name or password; remove what stands before the @, the token is a setting of its own")
	case u.Scheme != "https" && u.Scheme != "http" || u.Opaque != "":
		return errors.New("it does not begin with https://; write https://HOST/Api")
	case u.Hostname() == "":
		return errors.New("it names no host; write https://HOST/Api")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("it has a query or a fragment; remove everything from ? or # on")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return errors.New("plain http would show the token to the network; use https:// (http:// is for 127.0.0.1, ::1 and localhost only)")
	}
	return checkPort(u)
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.IsLoopback()
}

func proxy(field func(*Config) *string) setter {
	return func(_ *parser, c *Config, value string) error {
		u, err := parseProxy(strings.TrimSpace(value))
		if err != nil {
			return err
		}
		*field(c) = u
		return nil
	}
}
