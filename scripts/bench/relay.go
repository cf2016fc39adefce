package main

import (
	"net"
	"sync/atomic"
	"time"
)

// relay passes connections on, as slowly as if the target were a round trip away, and counts
// the bytes of both directions, each before it is sent on.
type relay struct {
	net.Listener
	target    string
	roundTrip time.Duration
	bytes     atomic.Int64
}

func newRelay(target string, roundTrip time.Duration) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{Listener: listener, target: target, roundTrip: roundTrip}
	go r.serve()
	return r, nil
}

func (r *relay) serve() {
	for {
		client, err := r.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", r.target)
		if err != nil {
			client.Close()
			continue
		}
		// TCP's own handshake is over at once here, and takes a round trip there: until then
		// the client has nothing to send on.
		open := time.Now().Add(r.roundTrip)
		go r.pass(server, client, open)
		go r.pass(client, server, open)
	}
}

// piece is what was read at once, and when it arrives.
type piece struct {
	data []byte
	due  time.Time
}

func (r *relay) pass(to, from net.Conn, open time.Time) {
	pieces := make(chan piece, 1024)
	go func() {
		defer to.Close()
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.data) // where it fails, reading ends too
		}
	}()
	defer close(pieces)
	for {
		buffer := make([]byte, 32<<10)
		n, err := from.Read(buffer)
		r.bytes.Add(int64(n))
		sent := time.Now()
		if sent.Before(open) {
			sent = open
		}
		pieces <- piece{buffer[:n], sent.Add(r.roundTrip / 2)}
		if err != nil {
			return
		}
	}
}
