package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"testing"
)

// TestConstantsEqualTheHeader compares every number of wire.h with ours.
func TestConstantsEqualTheHeader(t *testing.T) {
	header, err := os.ReadFile("../module/wire.h")
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]uint64{
		"MAGIC": Magic, "VERSION": Version, "BUILD_ID_SIZE": BuildIDSize, "DATA_SOCKET": DataSocket, "CONTROL_FD": ControlFD,
		"MAX_PAYLOAD": MaxPayload, "MAX_UPDATE": MaxUpdate, "COALESCE": Coalesce,
		"WORKING_INTERVAL": WorkingInterval, "SILENCE": Silence, "ANSWER": Answer, "WORKING": Working,
		"CHECK_SESSION": CheckSession, "GET_SLOT_LIST": GetSlotList, "GET_SLOT_INFO": GetSlotInfo, "GET_TOKEN_INFO": GetTokenInfo,
		"GET_MECHANISM_LIST": GetMechanismList, "GET_MECHANISM_INFO": GetMechanismInfo, "OPEN_SESSION": OpenSession,
		"CLOSE_SESSION": CloseSession, "CLOSE_ALL_SESSIONS": CloseAllSessions, "GET_SESSION_INFO": GetSessionInfo,
		"LOGIN": Login, "LOGOUT": Logout, "FIND_INIT": FindInit, "FIND": Find, "FIND_FINAL": FindFinal,
		"GET_ATTRIBUTES": GetAttributes, "GET_OBJECT_SIZE": GetObjectSize, "SIGN_INIT": SignInit, "SIGN": Sign,
		"SIGN_UPDATE": SignUpdate, "SIGN_FINAL": SignFinal, "SIGN_CANCEL": SignCancel, "GENERATE_RANDOM": GenerateRandom,
		"MULTI_PART": MultiPart,
	}
	defined := regexp.MustCompile(`(?m)^#define WIRE_(\w+) (\S+)`).FindAllStringSubmatch(string(header), -1)
	for _, d := range defined {
		value, err := strconv.ParseUint(d[2], 0, 64)
		if err != nil {
			t.Fatalf("WIRE_%s: %v", d[1], err)
		}
		if got, known := ours[d[1]]; !known || got != value {
			t.Errorf("WIRE_%s is %d in wire.h and %d (known: %v) here", d[1], value, got, known)
		}
		delete(ours, d[1])
	}
	for name := range ours {
		t.Errorf("WIRE_%s is missing in wire.h", name)
	}
}

// TestHelloIsChecked changes each part of the greeting.
func TestHelloIsChecked(t *testing.T) {
	tests := []struct {
		name   string
		change func([]byte) []byte
		ok     bool
	}{
		{"equal", func(b []byte) []byte { return b }, true},
		{"short", func(b []byte) []byte { return b[:HelloSize-1] }, false},
		{"magic", func(b []byte) []byte { b[0]++; return b }, false},
		{"protocol", func(b []byte) []byte { b[4]++; return b }, false},
		{"CK_ULONG", func(b []byte) []byte { b[8] = 4; return b }, false},
		{"build id", func(b []byte) []byte { b[16] = 'x'; return b }, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := CheckHello(test.change(Hello("1.2.3")), "1.2.3"); (err == nil) != test.ok {
				t.Errorf("CheckHello: %v", err)
			}
		})
	}
}

func header(call, length uint32, handle, number uint64) []byte {
	b := binary.NativeEndian.AppendUint32(nil, call)
	b = binary.NativeEndian.AppendUint32(b, length)
	return AppendUint64s(b, handle, number)
}

func TestReadRequestChecksLengths(t *testing.T) {
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"whole", header(Sign, 0, 1, 2), nil},
		{"nothing", nil, io.EOF},
		{"half a header", header(Sign, 0, 1, 2)[:10], io.ErrUnexpectedEOF},
		{"largest payload", header(Sign, MaxPayload, 1, 2), nil},
		{"too large a payload", header(Sign, MaxPayload+1, 1, 2), ErrMalformed},
		{"largest update", header(SignUpdate, MaxUpdate, 1, 2), nil},
		{"too large an update", header(SignUpdate, MaxUpdate+1, 1, 2), ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if _, err := ReadRequest(bytes.NewReader(test.in)); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestAttributesRefuseLyingLengths(t *testing.T) {
	whole := AppendValue(AppendUint64s(nil, 0x102), []byte("demo/release"))
	for _, test := range []struct {
		payload []byte
		count   uint64
		ok      bool
	}{
		{whole, 1, true},
		{nil, 0, true},
		{whole, 2, false},
		{whole, 0, false},
		{whole[:len(whole)-1], 1, false},
		{AppendUint64s(nil, 1, ^uint64(0)), 1, false},
	} {
		t.Run(fmt.Sprintf("%d bytes, %d entries", len(test.payload), test.count), func(t *testing.T) {
			r := NewReader(test.payload)
			list := r.Attributes(test.count)
			if err := r.Done(); (err == nil) != test.ok {
				t.Errorf("%v, %v", list, err)
			}
		})
	}
}

// FuzzPayload reads arbitrary payloads in every way.
func FuzzPayload(f *testing.F) {
	f.Add(AppendValue(AppendUint64s(nil, 0x102), []byte("demo/release")), uint64(1))
	f.Add([]byte{}, ^uint64(0))
	f.Add(AppendUint64s(nil, 0, ^uint64(0)), uint64(1))
	f.Fuzz(func(t *testing.T, payload []byte, count uint64) {
		r := NewReader(payload)
		total := 0
		for _, a := range r.Attributes(count) {
			total += 16 + len(a.Value)
		}
		if total > len(payload) {
			t.Errorf("%d bytes out of %d", total, len(payload))
		}
		_ = r.Done()
		_, _ = ReadRequest(bytes.NewReader(payload))
		_ = CheckHello(payload, "x")
	})
}

// FuzzReadRequest reads whole streams: no request is larger than it may be, and
// nothing is read past a header.
func FuzzReadRequest(f *testing.F) {
	f.Add(header(Sign, 3, 1, 2), []byte("abc"))
	f.Add(append(header(SignUpdate, 0, 1, 0), header(SignFinal, 0, 1, 0)...), []byte{})
	f.Add(header(Login, MaxPayload+1, 1, 1), []byte("CONFIG"))
	f.Fuzz(func(t *testing.T, headers, payload []byte) {
		stream := bytes.NewReader(append(headers, payload...))
		for {
			before := stream.Len()
			q, err := ReadRequest(stream)
			if err != nil {
				return
			}
			if limit := uint32(MaxPayload); q.Call != SignUpdate && q.Length > limit || q.Length > MaxUpdate {
				t.Errorf("call %d with %d bytes is taken", q.Call, q.Length)
			}
			if read := before - stream.Len(); read != RequestSize {
				t.Errorf("%d bytes were read", read)
			}
			if _, err := stream.Seek(int64(q.Length), io.SeekCurrent); err != nil {
				t.Fatal(err)
			}
		}
	})
}
