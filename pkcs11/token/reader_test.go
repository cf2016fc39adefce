package token

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"unsafe"
)

func TestReaderReadsWhatWasWritten(t *testing.T) {
	text := []byte(strings.Repeat("0123456789", 5000))
	for name, source := range map[string]io.Reader{
		"at once": bytes.NewReader(text), "byte by byte": iotest.OneByteReader(bytes.NewReader(text)), "end with data": iotest.DataErrReader(bytes.NewReader(text)),
	} {
		t.Run(name, func(t *testing.T) {
			r := &reader{from: source}
			random := rand.New(rand.NewPCG(1, 2))
			var got []byte
			for {
				piece := make([]byte, 1+random.IntN(9000))
				n, err := r.Read(piece)
				got = append(got, piece[:n]...)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, text) {
				t.Errorf("%d bytes, want %d, or other ones", len(got), len(text))
			}
		})
	}
}

func TestReaderKeepsNoPIN(t *testing.T) {
	r := &reader{from: strings.NewReader("header organization:token next")}
	for _, want := range []string{"header ", "organization:token"} {
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if bytes.Contains(r.buffer[:], []byte("token")) || !bytes.Contains(r.buffer[:], []byte("next")) {
		t.Errorf("the buffer holds %q", bytes.Trim(r.buffer[:], "\x00"))
	}
}

// TestAnIdleSocketIsSmall: an agent has one for each host that is connected, as long as that lives.
func TestAnIdleSocketIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(reader{}) + unsafe.Sizeof(socket{}); size > 640 {
		t.Errorf("%d bytes", size)
	}
}
