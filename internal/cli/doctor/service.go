package doctor

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"signkit/internal/config"
	"signkit/internal/key"
	"signkit/internal/signpath"
)

const (
	skewWarning = time.Minute     // a certificate made now may not be valid yet
	skewProblem = 5 * time.Minute // signatures get wrong times
	expirySoon  = 30 * 24 * time.Hour
	nameTimeout = 5 * time.Second
)

// settings shows where each setting comes from; values are not shown: some are secrets.
func (e *examination) settings(context.Context) {
	const area = "settings"
	if e.ConfigError != nil {
		for line := range strings.SplitSeq(e.ConfigError.Error(), "\n") {
			e.problem(area, "value", line, "correct it; docs: Configuration")
		}
	}
	if e.Config == nil {
		return
	}
	for _, setting := range config.Settings() {
		name := setting.Environment[0]
		if source := e.Config.Source(name); source != "" && source != "default" {
			e.ok(area, name, "from "+source)
		}
	}
	for _, warning := range e.Config.Warnings() {
		e.warn(area, "value", warning, "correct or remove it")
	}
	if err := e.Config.CheckCredentials(); err != nil && e.ConfigError == nil {
		e.problem(area, "credentials", err.Error(), "set them, or pass them on: docker run needs -e NAME or --env-file")
	}
}

// service looks at the way to the service, step by step, so that the first broken step is
// what is named.
func (e *examination) service(ctx context.Context) {
	const area = "service"
	if e.Client == nil {
		if e.ClientError != nil {
			e.problem(area, "client", e.ClientError.Error(), hint(e.ClientError, "correct the setting that is named"))
		}
		return
	}
	agent := e.Config != nil && e.Config.Agent != ""
	if !agent {
		e.resolve(ctx)
	}
	health, err := e.Client.Health(ctx)
	if err != nil {
		e.problem(area, "connection", cause(err), hint(err, "check SIGNPATH_API_URL, and the network access of this machine or container"))
		return
	}
	e.reachable = true
	way := "direct"
	switch {
	case agent:
		way = "through the agent that SIGNKIT_AGENT names"
	case health.Proxy != "":
		way = "through the proxy " + health.Proxy
	}
	e.ok(area, "connection", fmt.Sprintf("%s, %d ms", way, health.Elapsed.Milliseconds()))
	e.serverCertificate(health)
	e.clock(health)
	if health.Status != 200 {
		e.problem(area, "health", fmt.Sprintf("status %d: %s", health.Status, health.Text),
			"check the path in SIGNPATH_API_URL (…/Api); if it is right, the service is down")
		return
	}
	e.ok(area, "health", health.Text)
}

// resolve looks up the name of what is dialled. Behind a proxy the proxy does that.
func (e *examination) resolve(ctx context.Context) {
	const area = "service"
	api, err := url.Parse(e.Config.APIURL)
	if err != nil || e.Client.Proxied() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, api.Hostname())
	if err != nil {
		e.problem(area, "name", fmt.Sprintf("%s cannot be resolved: %v", api.Hostname(), err),
			"check the host name in SIGNPATH_API_URL, and DNS in this machine or container (docker run --dns)")
		return
	}
	e.ok(area, "name", api.Hostname()+" is "+strings.Join(addresses, ", "))
}

func (e *examination) serverCertificate(health *signpath.Health) {
	const area = "service"
	if len(health.Certificates) == 0 {
		e.warn(area, "tls", "plain HTTP", "fine for a mock service on this machine; a real one needs https in SIGNPATH_API_URL")
		return
	}
	leaf := health.Certificates[0]
	text := fmt.Sprintf("%s, issued by %s, until %s", leaf.Subject.CommonName, leaf.Issuer.CommonName, day(leaf.NotAfter))
	if time.Until(leaf.NotAfter) < expirySoon {
		e.warn(area, "tls", text, "the service's operator must renew it")
		return
	}
	e.ok(area, "tls", text)
}

func (e *examination) clock(health *signpath.Health) {
	const area = "service"
	ahead := health.Ahead
	direction := "ahead of"
	if ahead < 0 {
		ahead, direction = -ahead, "behind"
	}
	text := fmt.Sprintf("this machine is %s %s the service", ahead, direction)
	switch {
	case ahead >= skewProblem:
		e.problem(area, "clock", text, "set the clock (NTP): signatures and certificates carry times")
	case ahead >= skewWarning:
		e.warn(area, "clock", text, "set the clock (NTP)")
	default:
		e.ok(area, "clock", "agrees with the service")
	}
}

// credentials asks for the keys: token and permission show there.
func (e *examination) credentials(ctx context.Context) {
	const area = "keys"
	switch {
	case e.Client == nil || e.Config.CheckCredentials() != nil:
		e.skip(area, "token", "not asked: no usable settings")
		return
	case !e.reachable:
		e.skip(area, "token", "not asked: the service cannot be reached")
		return
	}
	keys, err := e.Client.Policies(ctx, signpath.Filter{ProjectSlug: e.Project, SigningPolicySlug: e.Policy})
	if err != nil {
		e.problem(area, "token", cause(err), hint(err, "check SIGNPATH_API_TOKEN and SIGNPATH_ORGANIZATION_ID"))
		return
	}
	e.ok(area, "token", "accepted")
	e.keys = keys
	if len(keys) > 0 {
		return
	}
	what := "any signing policy"
	if e.Project != "" || e.Policy != "" {
		what = e.Project + "/" + e.Policy
	}
	e.problem(area, "permission", "the token's user may not submit to "+what,
		"compare the slugs with the service, and make the user a submitter of the signing policy there")
}

// cause is an error's text without the hint at its end.
func cause(err error) string {
	text := err.Error()
	if hint := key.HintOf(err); hint != "" {
		text = strings.TrimSuffix(text, "; "+hint)
	}
	return text
}

// hint is what the error itself says to do, or else the default.
func hint(err error, otherwise string) string {
	if hint := key.HintOf(err); hint != "" {
		return hint
	}
	return otherwise
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
