// Package wire is the Go side of the messages between the PKCS#11 module and
// its token process. The specification is pkcs11/module/wire.h; a test keeps
// the constants and layouts of both equal. Numbers are in the host's byte
// order, because both ends run on one machine.
//
// The package reads and writes bytes. It knows no token, and it is not safe
// for anything that crosses a machine.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version and limits of the protocol.
const (
	Magic       = 0x746B6773
	Version     = 1
	BuildIDSize = 48
	DataSocket  = 68 // the byte of a control packet that carries a data socket
	ControlFD   = 3  // where the token process finds the control socket

	MaxPayload = 4 << 20  // bytes, of all but updates
	MaxUpdate  = 64 << 20 // bytes, of one update
	Coalesce   = 256 << 10

	WorkingInterval = 2000  // milliseconds between two replies of kind Working
	Silence         = 20000 // milliseconds after which the module gives up
)

// Kinds of a reply.
const (
	Answer  = 0
	Working = 1
)

// Calls. What handle, number and payload hold is written in wire.h.
const (
	CheckSession      = 1
	GetSlotList       = 2
	GetSlotInfo       = 3
	GetTokenInfo      = 4
	GetMechanismList  = 5
	GetMechanismInfo  = 6
	OpenSession       = 7
	CloseSession      = 8
	CloseAllSessions  = 9
	GetSessionInfo    = 10
	Login             = 11
	Logout            = 12
	FindInit          = 13
	Find              = 14
	FindFinal         = 15
	GetAttributes     = 16
	GetObjectSize     = 17
	SignInit          = 18
	Sign              = 19
	SignUpdate        = 20
	SignFinal         = 21
	SignCancel        = 22
	GenerateRandom    = 23
	MultiPart         = 1 // flag in the payload of SignInit's reply
	unavailableLength = ^uint64(0)
)

// HelloSize, RequestSize and ReplySize are the sizes of the C structures.
const (
	HelloSize   = 16 + BuildIDSize
	RequestSize = 24
	ReplySize   = 24
)

// ErrMalformed means that the peer does not speak this protocol.
var ErrMalformed = errors.New("malformed message")

// Hello returns the greeting of this side: struct wire_hello.
func Hello(buildID string) []byte {
	b := make([]byte, HelloSize)
	binary.NativeEndian.PutUint32(b[0:], Magic)
	binary.NativeEndian.PutUint32(b[4:], Version)
	binary.NativeEndian.PutUint32(b[8:], 8) // sizeof(CK_ULONG)
	copy(b[16:16+BuildIDSize-1], buildID)
	return b
}

// CheckHello compares the module's greeting with ours. Its error says which
// part differs.
func CheckHello(b []byte, buildID string) error {
	if len(b) != HelloSize || binary.NativeEndian.Uint32(b) != Magic {
		return fmt.Errorf("%w: no greeting of a signkit module", ErrMalformed)
	}
	if v := binary.NativeEndian.Uint32(b[4:]); v != Version {
		return fmt.Errorf("the module speaks protocol %d, this token process %d", v, Version)
	}
	if size := binary.NativeEndian.Uint32(b[8:]); size != 8 {
		return fmt.Errorf("the module's CK_ULONG has %d bytes, not 8", size)
	}
	if theirs := cString(b[16:]); theirs != buildID {
		return fmt.Errorf("the module is version %q, this token process %q", theirs, buildID)
	}
	return nil
}

func cString(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// Request is the header of one call: struct wire_request.
type Request struct {
	Call   uint32
	Length uint32 // bytes of payload that follow
	Handle uint64
	Number uint64
}

// ReadRequest reads one header and checks its length. io.EOF means that the
// module closed the socket between two messages.
func ReadRequest(r io.Reader) (Request, error) {
	var b [RequestSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return Request{}, err
	}
	q := Request{
		Call:   binary.NativeEndian.Uint32(b[0:]),
		Length: binary.NativeEndian.Uint32(b[4:]),
		Handle: binary.NativeEndian.Uint64(b[8:]),
		Number: binary.NativeEndian.Uint64(b[16:]),
	}
	limit := uint32(MaxPayload)
	if q.Call == SignUpdate {
		limit = MaxUpdate
	}
	if q.Length > limit {
		return Request{}, fmt.Errorf("%w: call %d with %d bytes", ErrMalformed, q.Call, q.Length)
	}
	return q, nil
}

// AppendReply appends a reply: struct wire_reply and its payload.
func AppendReply(b []byte, kind uint32, rv, value uint64, payload []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, kind)
	b = binary.NativeEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.NativeEndian.AppendUint64(b, rv)
	b = binary.NativeEndian.AppendUint64(b, value)
	return append(b, payload...)
}
