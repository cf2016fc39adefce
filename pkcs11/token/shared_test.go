package token

import (
	"context"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

// TestMoreSocketsThanThreads: those whose reads do not block are served as well, and end with their token.
func TestMoreSocketsThanThreads(t *testing.T) {
	b := newBench(t)
	m := connect(t, b)
	conns := make([]*conn, maxBlocking+20)
	for i := range conns {
		conns[i] = m.dial()
	}
	for _, c := range conns {
		session := c.openUser()
		c.expect(ckrOK, wire.SignInit, session, c.privateKey(session, "demo/rsa"), number(ckmSHA256RSAPKCS))
		if signature := c.expect(ckrOK, wire.Sign, session, 0, []byte("hello")).payload; !verifiesMessage(b.key("demo/rsa"), signature, []byte("hello")) {
			t.Fatal("a signature does not verify")
		}
		c.expect(ckrOK, wire.Logout, session, 0, nil)
	}
	if n := waiting.Load(); int(n) < len(conns) {
		t.Errorf("%d sockets are counted, of %d", n, len(conns))
	}
}

// TestEndHangsUp: where the process goes on without a host, nothing of that host is left, not even a call that waits.
func TestEndHangsUp(t *testing.T) {
	b := newBench(t)
	key := b.source.keys[0]
	defer key.hold()()
	ours, theirs := socketPair(t, unix.SOCK_SEQPACKET)
	control, err := OpenControl(theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(theirs)
	m := &module{t: t, fd: ours, served: make(chan error, 1)}
	t.Cleanup(m.close)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = control.Greet(buildID)
		_ = control.Serve(ctx, b.Token, buildID)
		control.End(cancel)
	}()
	m.sendControl(wire.Hello(buildID), -1)
	c, idle := m.dial(), m.dial()
	session := c.openUser()
	c.signInit(session, c.privateKey(session, key.id), ckmSHA256RSAPKCS)
	if err := c.send(wire.Sign, session, 0, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	m.close()
	c.ended()
	idle.ended()
	await(t, ended)
}

// TestOnlyTheSettingsCredentials: another PIN is refused in one record that says what to pass, and connects to nothing.
func TestOnlyTheSettingsCredentials(t *testing.T) {
	b := newBench(t)
	log := b.record(t)
	b.Token.only = true
	connect := b.Token.connect
	b.Token.connect = nil // would panic
	session := b.open(t, "").handle
	b.expect(t, ckrPINIncorrect, wire.Login, session, ckuUser, []byte(secondOrganization+":"+secondToken))
	b.expect(t, ckrPINLenRange, wire.Login, session, ckuUser, nil)
	b.Token.connect = connect
	b.expect(t, ckrOK, wire.Login, session, ckuUser, []byte("CONFIG"))
	if log.errors() != 2 {
		t.Errorf("%d error records:\n%s", log.errors(), log)
	}
}

// commonKey is a key that several tokens are given.
type commonKey struct {
	*fakeKey
	shared Shared
}

func (k *commonKey) Shared() *Shared { return &k.shared }

// TestTokensShareWhatTheyShowOfAKey: their handles are their own.
func TestTokensShareWhatTheyShowOfAKey(t *testing.T) {
	b := newBench(t)
	for id, shared := range map[string]bool{"demo/rsa": true, "demo/gpg": false} {
		k := &commonKey{fakeKey: b.key(id)}
		var rings [2]*keyring
		for i := range rings {
			next := uint64(100 * i)
			rings[i] = newKeyring(b.source, key.ID{}, func() uint64 { next++; return next })
			rings[i].dummies = i == 1
			if err := rings[i].add(k); err != nil {
				t.Fatal(err)
			}
		}
		first, second := rings[0].objects[0], rings[1].objects[0]
		if same := reflect.ValueOf(first.attributes).Pointer() == reflect.ValueOf(second.attributes).Pointer(); same != shared {
			t.Errorf("%s: same attributes: %v, want %v", id, same, shared)
		}
		if first == second || first.handle != 1 || second.handle != 101 {
			t.Errorf("%s: handles %d and %d, want 1 and 101", id, first.handle, second.handle)
		}
		if len(rings[1].objects) != 3 {
			t.Errorf("%s: %d objects, want 3", id, len(rings[1].objects))
		}
	}
}
