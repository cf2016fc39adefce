package token

import (
	"context"
	"encoding/binary"
	"testing"

	"signkit/pkcs11/wire"
)

// conversation reads calls out of arbitrary bytes: each is a call, which of
// the known handles, which number, and a payload.
type conversation struct {
	handles []uint64
	numbers []uint64
	data    []byte
}

func (c *conversation) next() (call uint32, handle, n uint64, payload []byte, ok bool) {
	if len(c.data) < 4 {
		return 0, 0, 0, nil, false
	}
	call = uint32(c.data[0]) % (wire.GenerateRandom + 2)
	handle = c.handles[int(c.data[1])%len(c.handles)]
	n = c.numbers[int(c.data[2])%len(c.numbers)]
	length := min(int(c.data[3]), len(c.data)-4)
	payload, c.data = c.data[4:4+length], c.data[4+length:]
	return call, handle, n, payload, true
}

// calling makes the bytes of one call for the seeds.
func calling(call uint32, handle, n byte, payload []byte) []byte {
	return append([]byte{byte(call), handle, n, byte(len(payload))}, payload...)
}

// FuzzConversation makes whole sequences of calls with handles that exist: no
// call panics, and no signature comes without a key that was asked for it.
func FuzzConversation(f *testing.F) {
	pss := append(number(ckmRSAPKCSPSS), pssParameters(ckmSHA256, ckgMGF1SHA256, 32)...)
	for _, mechanism := range [][]byte{number(ckmECDSA), number(ckmSHA256RSAPKCS), number(ckmRSAPKCS), pss} {
		f.Add(append(calling(wire.SignInit, 0, 3, mechanism), calling(wire.Sign, 0, 0, make([]byte, 32))...))
		f.Add(append(calling(wire.SignInit, 0, 4, mechanism), calling(wire.SignFinal, 0, 0, nil)...))
	}
	f.Add(append(calling(wire.Logout, 0, 0, nil), calling(wire.Login, 0, 1, []byte("CONFIG"))...))
	f.Add(append(calling(wire.FindInit, 0, 1, encodeTemplate([]wire.Attribute{class(ckoPrivateKey)})), calling(wire.Find, 0, 2, nil)...))
	f.Add(append(calling(wire.GetAttributes, 0, 3, binary.NativeEndian.AppendUint64(nil, ckaID)), calling(wire.CloseSession, 0, 0, nil)...))
	f.Add(append(calling(wire.OpenSession, 2, 4, nil), calling(wire.CloseAllSessions, 2, 0, nil)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		b := newBench(t)
		session := b.open(t, "CONFIG").handle
		private, err := b.find(context.Background(), []wire.Attribute{class(ckoPrivateKey)})
		if err != nil || len(private) != 5 {
			t.Fatalf("found %d, %v", len(private), err)
		}
		c := &conversation{
			handles: []uint64{session, 0, slotID, session + 1, private[0], ^uint64(0)},
			numbers: append([]uint64{0, 1, 2}, append(private, ckfSerialSession, 1<<20, ^uint64(0))...), data: data,
		}
		for {
			call, handle, n, payload, ok := c.next()
			if !ok {
				return
			}
			before := b.signed()
			rv, res := b.do(call, handle, n, payload)
			if signing := call == wire.Sign || call == wire.SignFinal; signing && rv == ckrOK && len(res.payload) == 0 {
				t.Errorf("call %d returns no signature", call)
			} else if !signing && b.signed() != before {
				t.Errorf("call %d signs", call)
			}
		}
	})
}

// signed counts the signatures of all keys.
func (b *bench) signed() (n int) {
	for _, k := range b.source.keys {
		n += k.signatures()
	}
	return n
}
