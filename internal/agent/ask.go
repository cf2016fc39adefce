package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"signkit/internal/signpath"
)

// Ask asks the agent at a socket what it has done.
func Ask(ctx context.Context, socket string) (*Status, error) {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return signpath.DialAgent(ctx, socket)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/agent", nil)
	if err != nil {
		return nil, err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", answer.Status)
	}
	var status Status
	return &status, json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&status)
}
