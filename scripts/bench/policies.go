package main

import (
	"net/url"
	"path/filepath"

	"signkit/internal/mockapi"
)

// many and few count the signing policies of the two services of group policies.
const many, few = 10_000, 8

// policies: what one named signature costs does not depend on how many policies the user
// has. Bytes are counted on a connection without TLS, whose own messages vary in length.
func policies(b *bench) ([]row, error) {
	state := filepath.Join(b.dir, "plain-state") // both have the same keys and certificates
	ours, err := b.newCounted(state, many)
	if err != nil {
		return nil, err
	}
	defer ours.close()
	other, err := b.newCounted(state, few)
	if err != nil {
		return nil, err
	}
	defer other.close()
	o, t, err := b.alternate(ours.sign, other.sign)
	if err != nil {
		return nil, err
	}
	return []row{
		compare("one signature, 10 000 policies: requests", "", "8 policies", o["requests"], t["requests"]).equal(),
		compare("one signature, 10 000 policies: bytes", "B", "8 policies", o["bytes"], t["bytes"]).equal(),
		compare("one signature, 10 000 policies: time", "ms", "8 policies", o["first"], t["first"]),
	}, nil
}

// counted is a service behind a relay that counts what passes.
type counted struct {
	bench   *bench
	service *mockapi.Server
	relay   *relay
	env     []string
}

func (b *bench) newCounted(state string, policies int) (*counted, error) {
	cfg := mockapi.DefaultConfig()
	project := &cfg.Organizations[0].Projects[0]
	project.ExtraPolicies = policies - len(project.Policies)
	service, err := mockapi.Start(mockapi.Options{StateDir: state, Config: cfg, PlainHTTP: true})
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(service.BaseURL())
	if err != nil {
		return nil, err
	}
	r, err := newRelay(target.Host, 0)
	if err != nil {
		return nil, err
	}
	target.Host = r.Addr().String()
	env := append(b.environment(service), "SIGNPATH_API_URL="+target.JoinPath("Api").String())
	return &counted{b, service, r, env}, nil
}

func (c *counted) sign(into samples) error {
	c.service.ClearRequests()
	c.relay.bytes.Store(0)
	if err := c.bench.sampleHost(into, c.env, c.bench.module, keyRSA); err != nil {
		return err
	}
	into.add("requests", float64(len(c.service.Requests())))
	into.add("bytes", float64(c.relay.bytes.Load()))
	return nil
}

func (c *counted) close() {
	c.relay.Close()
	c.bench.stop(c.service)
}
