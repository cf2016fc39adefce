package signpath

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"signkit/internal/caller"
	"signkit/internal/config"
	"signkit/internal/logging"
)

// errForeignAgent reports a socket at which neither this user nor root listens.
var errForeignAgent = errors.New("the agent belongs to another user")

// agentURL has a host because there must be one; the agent knows organization and service.
const agentURL = "http://agent"

// agentParallel is no bound of its own: the agent has one for all of its clients.
const agentParallel = 1024

// throughAgent are the settings and options for an agent's clients: all that differs is who is dialled, that
// no credentials are there to be sent, and that the agent is who repeats what failed.
func throughAgent(cfg *config.Config, o Options) (*config.Config, Options) {
	if o.Redactor == nil {
		o.Redactor = new(logging.Redactor)
	}
	for _, secret := range cfg.Secrets() {
		o.Redactor.Add(secret)
	}
	c := *cfg
	c.APIURL, c.OrganizationID, c.APIToken = agentURL, "organization", config.Secret{}
	c.HTTPProxy, c.HTTPSProxy, c.NoProxy = "", "", ""
	c.Timeouts = config.Timeouts{HTTPRequest: LongestCall(cfg.Timeouts) + time.Minute}
	c.SignRoute = config.RouteSignHash
	c.MaxParallel = agentParallel
	o.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { return DialAgent(ctx, cfg.Agent) }
	return &c, o
}

// agentDialTime bounds the wait for an agent that takes no connection.
const agentDialTime = 30 * time.Second

// DialAgent connects to the socket for clients of the service beside an agent's own. It asks the kernel who listens at the other end, and says nothing to a stranger.
func DialAgent(ctx context.Context, socket string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: agentDialTime}).DialContext(ctx, "unix", config.RESTSocket(socket))
	if err != nil {
		return nil, err
	}
	peer, err := caller.Peer(conn)
	if err == nil && peer.Uid != 0 && int(peer.Uid) != os.Geteuid() {
		err = fmt.Errorf("%w (%d)", errForeignAgent, peer.Uid)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}
