package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"signkit/pkcs11/wire"
)

// stream is one data socket.
type stream struct {
	*relay
	module, token *os.File
	updates       int
	held          *message
	done          atomic.Bool // the mischief is done, and its answer not yet seen
}

// message is one request as it is on the wire.
type message struct {
	header  []byte
	payload []byte
}

// mischiefs turn the third update of a stream, or what they are said to, into
// what is sent instead.
var mischiefs = map[string]func(*stream, message) []message{
	"delay":    (*stream).wait,
	"late":     (*stream).late,
	"drop":     func(*stream, message) []message { return nil },
	"repeat":   func(_ *stream, m message) []message { return []message{m, m} },
	"swap":     func(s *stream, m message) []message { s.held = &m; return nil },
	"shorten":  func(_ *stream, m message) []message { return []message{resized(m, m.payload[1:])} },
	"lengthen": func(_ *stream, m message) []message { return []message{resized(m, append(m.payload, 'x'))} },
	"count":    func(_ *stream, m message) []message { return []message{renumbered(m, 1)} },
	"answer":   (*stream).answer,
	"hang up":  func(s *stream, m message) []message { s.hangUp(); return []message{m} },
}

// requests hands on what the module asks.
func (s *stream) requests() {
	defer s.hangUp()
	for {
		m, err := read(s.module)
		if err != nil {
			return
		}
		for _, out := range s.meddle(m) {
			if _, err := s.token.Write(append(bytes.Clone(out.header), out.payload...)); err != nil {
				return
			}
		}
	}
}

// replies hands on what the token process answers.
func (s *stream) replies() {
	defer s.hangUp()
	buffer := make([]byte, 64<<10)
	for {
		n, err := s.token.Read(buffer)
		if err != nil {
			return
		}
		answered := s.done.CompareAndSwap(true, false) // before the module sees an answer to anything else, and goes on
		if _, err := s.module.Write(buffer[:n]); err != nil {
			return
		}
		if answered {
			touch()
		}
	}
}

func (s *stream) hangUp() {
	for _, f := range []*os.File{s.module, s.token} {
		_ = unix.Shutdown(int(f.Fd()), unix.SHUT_RDWR)
	}
}

// meddle is what is sent instead of m.
func (s *stream) meddle(m message) []message {
	if s.mischief == "late" {
		return s.late(m)
	}
	if held := s.held; held != nil {
		s.held = nil
		s.done.Store(true)
		return []message{m, *held}
	}
	call, hit := binary.NativeEndian.Uint32(m.header), false
	if call == wire.SignUpdate {
		s.updates++
		hit = s.updates == 3
	}
	if s.mischief == "count" {
		hit = call == wire.SignFinal && s.updates >= 3
	}
	out := []message{m}
	if hit && s.begun.CompareAndSwap(false, true) {
		out = mischiefs[s.mischief](s, m)
		s.done.Store(s.held == nil)
	}
	return out
}

// wait reads nothing more from this socket until it may proceed.
func (s *stream) wait(m message) []message {
	touch()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := os.Stat(os.Getenv("SIGNKIT_TEST_PROCEED")); err == nil {
			return []message{m}
		}
	}
	s.hangUp()
	return nil
}

// late keeps every message for a moment of its own.
func (s *stream) late(m message) []message {
	time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
	return []message{m}
}

// answer is one that comes too early and has a payload: replies of kind wire.Working, and a part of one. Taken for the answer to
// what is asked next, it would keep the module waiting until the token process counts as lost.
func (s *stream) answer(m message) []message {
	working := wire.AppendReply(nil, wire.Working, 0, 0, nil)
	payload := append(bytes.Repeat(working, 100), working[:8]...)
	if _, err := s.module.Write(wire.AppendReply(nil, wire.Answer, 0x30, 0, payload)); err != nil {
		return nil
	}
	touch()
	return []message{m}
}

func read(r io.Reader) (message, error) {
	m := message{header: make([]byte, wire.RequestSize)}
	if _, err := io.ReadFull(r, m.header); err != nil {
		return m, err
	}
	request, err := wire.ReadRequest(bytes.NewReader(m.header))
	if err != nil {
		return m, err
	}
	m.payload = make([]byte, request.Length)
	_, err = io.ReadFull(r, m.payload)
	return m, err
}

// resized is m with another payload.
func resized(m message, payload []byte) message {
	m.header = bytes.Clone(m.header)
	binary.NativeEndian.PutUint32(m.header[4:], uint32(len(payload)))
	m.payload = payload
	return m
}

// renumbered is m with its number (of a WIRE_SIGN_FINAL: the count of bytes) changed.
func renumbered(m message, by uint64) message {
	m.header = bytes.Clone(m.header)
	binary.NativeEndian.PutUint64(m.header[16:], binary.NativeEndian.Uint64(m.header[16:])-by)
	return m
}

func touch() {
	if err := os.WriteFile(os.Getenv("SIGNKIT_TEST_REACHED"), nil, 0o600); err != nil {
		os.Exit(1)
	}
}
