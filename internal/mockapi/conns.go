package mockapi

import (
	"net"
	"net/http"
	"sync"
)

// freshConns are the connections on which nobody has asked anything yet.
// http.Server.Shutdown waits up to five seconds for each of them, and clients
// that connect ahead of their first request leave some behind.
type freshConns struct {
	mu    sync.Mutex
	conns map[net.Conn]bool
	ended bool
}

// track is the http.Server's ConnState.
func (f *freshConns) track(conn net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(f.conns, conn)
	case f.ended:
		conn.Close()
	case f.conns == nil:
		f.conns = map[net.Conn]bool{conn: true}
	default:
		f.conns[conn] = true
	}
}

func (f *freshConns) closeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for conn := range f.conns {
		go conn.Close() // for TLS it may wait to say good-bye
	}
}
