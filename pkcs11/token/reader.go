package token

import "io"

// readSize is more than nearly all messages have. Longer ones take another read; but an agent has a buffer for each of
// thousands of hosts.
const readSize = 448

// reader collects small messages into one read. Unlike bufio.Reader it keeps
// nothing of what it has handed out: a PIN would stay in its buffer.
type reader struct {
	from   io.Reader
	buffer [readSize]byte
	unread []byte // a part of buffer
}

// Read reads at most once, and large pieces directly. An error that comes with
// data is left to the next read.
func (r *reader) Read(p []byte) (int, error) {
	if len(r.unread) == 0 {
		if len(p) >= len(r.buffer) {
			return r.from.Read(p)
		}
		n, err := r.from.Read(r.buffer[:])
		r.unread = r.buffer[:n]
		if n == 0 {
			return 0, err
		}
	}
	n := copy(p, r.unread)
	clear(r.unread[:n])
	r.unread = r.unread[n:]
	return n, nil
}
