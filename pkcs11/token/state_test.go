package token

import (
	"context"
	"testing"

	"signkit/pkcs11/wire"
)

// do makes one call without a socket between; operations are bound to the bench.
func (b *bench) do(call uint32, handle, n uint64, payload []byte) (Error, result) {
	return b.handle(&request{Request: wire.Request{Call: call, Handle: handle, Number: n}, ctx: context.Background(), payload: wire.NewReader(payload), socket: b})
}

// expect is do with a known result.
func (b *bench) expect(t testing.TB, want Error, call uint32, handle, n uint64, payload []byte) result {
	t.Helper()
	rv, res := b.do(call, handle, n, payload)
	if rv != want {
		t.Fatalf("%s: %v, want %v", calls[call].name, rv, want)
	}
	return res
}

// privateKey is the handle of a private key.
func (b *bench) privateKey(t testing.TB, id string) uint64 {
	t.Helper()
	found, err := b.find(context.Background(), searchByName(id))
	if err != nil || len(found) != 1 {
		t.Fatalf("found %d keys %s, %v", len(found), id, err)
	}
	return found[0]
}

func numbers(b []byte) (list []uint64) {
	for r := wire.NewReader(b); r.Len() >= 8; {
		list = append(list, r.Uint64())
	}
	return list
}

// TestSessionIsCheckedFirst: whatever else is wrong, a call with an unknown session says so.
func TestSessionIsCheckedFirst(t *testing.T) {
	b := newBench(t)
	closed := b.open(t, "").handle
	b.expect(t, ckrOK, wire.CloseSession, closed, 0, nil)
	withSession := []uint32{
		wire.CheckSession, wire.CloseSession, wire.GetSessionInfo, wire.Login, wire.Logout, wire.FindInit, wire.Find, wire.FindFinal,
		wire.GetAttributes, wire.GetObjectSize, wire.SignInit, wire.Sign, wire.SignFinal, wire.SignCancel, wire.GenerateRandom,
	}
	for _, call := range withSession {
		for _, session := range []uint64{0, 1, closed, closed + 1, ^uint64(0)} {
			b.expect(t, ckrSessionHandleInvalid, call, session, ^uint64(0), []byte{1, 2, 3})
		}
	}
	if len(withSession)+9 != len(calls) { // those with a slot, C_GetSlotList, updates, and 0 which is none
		t.Errorf("%d of %d calls are tried: a new one is missing here", len(withSession), len(calls))
	}
}

func TestSlotIsChecked(t *testing.T) {
	b := newBench(t)
	for _, call := range []uint32{wire.GetSlotInfo, wire.GetTokenInfo, wire.GetMechanismList, wire.GetMechanismInfo, wire.OpenSession, wire.CloseAllSessions} {
		for _, slot := range []uint64{0, 2, ^uint64(0)} {
			b.expect(t, ckrSlotIDInvalid, call, slot, ckfSerialSession, nil)
		}
	}
	if got := numbers(b.expect(t, ckrOK, wire.GetSlotList, 0, 1, nil).payload); len(got) != 1 || got[0] != 1 {
		t.Errorf("slots %v", got)
	}
	b.expect(t, ckrSessionParallelUnsupported, wire.OpenSession, slotID, 0, nil)
	b.expect(t, ckrSessionParallelUnsupported, wire.OpenSession, slotID, ckfRWSession, nil)
	if asked := b.source.requests(); asked != "" {
		t.Errorf("asked %q", asked)
	}
}

// TestInfos: sizes are those of the C structures, flags those that tools look at.
func TestInfos(t *testing.T) {
	b := newBench(t)
	if slot := b.expect(t, ckrOK, wire.GetSlotInfo, slotID, 0, nil).payload; len(slot) != 112 || numbers(slot[96:104])[0]&ckfTokenPresent == 0 {
		t.Errorf("CK_SLOT_INFO has %d bytes", len(slot))
	}
	b.open(t, "")
	token := b.expect(t, ckrOK, wire.GetTokenInfo, slotID, 0, nil).payload
	if len(token) != 208 {
		t.Fatalf("CK_TOKEN_INFO has %d bytes", len(token))
	}
	if got := string(token[:32]); got != "SignKit                         " {
		t.Errorf("label %q", got)
	}
	fields := numbers(token[96:184])
	if want := uint64(ckfTokenInitialized | ckfUserPINInitialized | ckfLoginRequired | ckfWriteProtected); fields[0]&want != want {
		t.Errorf("flags 0x%x", fields[0])
	}
	if fields[2] != 1 || fields[4] != 0 {
		t.Errorf("%d sessions, %d of them read/write; want 1 and 0", fields[2], fields[4])
	}
	if fields[5] < 255 {
		t.Errorf("a PIN may have %d bytes; ORGANIZATION_ID:API_TOKEN is longer", fields[5])
	}
}

// step is one call of a table of states, and its result.
type step struct {
	call uint32
	want Error
}

// TestOperationStates is the table of search and sign operations of one session.
func TestOperationStates(t *testing.T) {
	const digestLength = 32
	tests := []struct {
		name  string
		steps []step
	}{
		{"search calls without a search", []step{{wire.Find, ckrOperationNotInitialized}, {wire.FindFinal, ckrOperationNotInitialized}}},
		{"two searches at once", []step{{wire.FindInit, ckrOK}, {wire.FindInit, ckrOperationActive}, {wire.Find, ckrOK}, {wire.FindFinal, ckrOK}}},
		{"search after search", []step{{wire.FindInit, ckrOK}, {wire.FindFinal, ckrOK}, {wire.FindFinal, ckrOperationNotInitialized}, {wire.FindInit, ckrOK}}},
		{"results may be asked for again", []step{{wire.FindInit, ckrOK}, {wire.Find, ckrOK}, {wire.Find, ckrOK}, {wire.Find, ckrOK}, {wire.FindFinal, ckrOK}, {wire.Find, ckrOperationNotInitialized}}},
		{"sign calls without an operation", []step{{wire.Sign, ckrOperationNotInitialized}, {wire.SignFinal, ckrOperationNotInitialized}, {wire.SignCancel, ckrOperationNotInitialized}}},
		{"two operations at once", []step{{wire.SignInit, ckrOK}, {wire.SignInit, ckrOperationActive}, {wire.Sign, ckrOK}}},
		{"a signature ends the operation", []step{{wire.SignInit, ckrOK}, {wire.Sign, ckrOK}, {wire.Sign, ckrOperationNotInitialized}, {wire.SignInit, ckrOK}}},
		{"an error ends the operation", []step{{wire.SignInit, ckrOK}, {wire.SignFinal, ckrFunctionNotSupported}, {wire.Sign, ckrOperationNotInitialized}, {wire.SignInit, ckrOK}}},
		{"a cancelled operation has ended", []step{{wire.SignInit, ckrOK}, {wire.SignCancel, ckrOK}, {wire.Sign, ckrOperationNotInitialized}, {wire.SignInit, ckrOK}}},
		{"search and signature do not touch each other", []step{{wire.FindInit, ckrOK}, {wire.SignInit, ckrOK}, {wire.Find, ckrOK}, {wire.Sign, ckrOK}, {wire.FindFinal, ckrOK}}},
		{"logout ends the operation", []step{{wire.SignInit, ckrOK}, {wire.Logout, ckrOK}, {wire.Sign, ckrOperationNotInitialized}, {wire.SignInit, ckrUserNotLoggedIn}}},
		{"closing ends everything", []step{{wire.FindInit, ckrOK}, {wire.SignInit, ckrOK}, {wire.CloseSession, ckrOK}, {wire.Find, ckrSessionHandleInvalid}, {wire.Sign, ckrSessionHandleInvalid}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			session := b.open(t, "CONFIG").handle
			key := b.privateKey(t, "demo/p256")
			for _, step := range test.steps {
				n, payload := uint64(0), []byte(nil)
				switch step.call {
				case wire.SignInit:
					n, payload = key, number(ckmECDSA)
				case wire.Sign:
					payload = make([]byte, digestLength)
				case wire.Find:
					n = 1
				}
				b.expect(t, step.want, step.call, session, n, payload)
			}
		})
	}
}

// TestSessionsAreIndependent: each has its own search and operation.
func TestSessionsAreIndependent(t *testing.T) {
	b := newBench(t)
	first, second := b.open(t, "CONFIG").handle, b.open(t, "").handle
	key := b.privateKey(t, "demo/p256")
	for _, session := range []uint64{first, second} {
		b.expect(t, ckrOK, wire.FindInit, session, 0, nil)
		b.expect(t, ckrOK, wire.SignInit, session, key, number(ckmECDSA))
	}
	b.expect(t, ckrOK, wire.CloseSession, first, 0, nil)
	if found := numbers(b.expect(t, ckrOK, wire.Find, second, 100, nil).payload); len(found) != 12 {
		t.Errorf("found %d objects", len(found))
	}
	b.expect(t, ckrOK, wire.Sign, second, 0, make([]byte, 32))
}

// TestSearchIsReadInPieces, each object once and in the same order.
func TestSearchIsReadInPieces(t *testing.T) {
	b := newBench(t)
	session := b.open(t, "CONFIG").handle
	read := func(sizes ...uint64) (list []uint64) {
		b.expect(t, ckrOK, wire.FindInit, session, 0, nil)
		for _, size := range sizes {
			list = append(list, numbers(b.expect(t, ckrOK, wire.Find, session, size, nil).payload)...)
		}
		b.expect(t, ckrOK, wire.FindFinal, session, 0, nil)
		return list
	}
	whole, pieces := read(^uint64(0)), read(0, 1, 4, 100, 1)
	if len(whole) != 12 || len(pieces) != len(whole) {
		t.Fatalf("%d and %d objects", len(whole), len(pieces))
	}
	for i := range whole {
		if whole[i] != pieces[i] {
			t.Errorf("object %d is %d and %d", i, whole[i], pieces[i])
		}
	}
}

// TestLoginEndsWithTheLastSession, not before, and with all sessions.
func TestLoginEndsWithTheLastSession(t *testing.T) {
	state := func(b *bench, session uint64) uint64 {
		return numbers(b.expect(t, ckrOK, wire.GetSessionInfo, session, 0, nil).payload)[1]
	}
	for name, end := range map[string]func(b *bench, session uint64){
		"C_CloseSession":     func(b *bench, session uint64) { b.expect(t, ckrOK, wire.CloseSession, session, 0, nil) },
		"C_CloseAllSessions": func(b *bench, _ uint64) { b.expect(t, ckrOK, wire.CloseAllSessions, slotID, 0, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			first, second := b.open(t, "").handle, b.open(t, "").handle
			if got := state(b, second); got != cksROPublic {
				t.Errorf("state %d before the login", got)
			}
			b.expect(t, ckrOK, wire.Login, first, ckuUser, []byte("CONFIG"))
			b.expect(t, ckrOK, wire.CloseSession, first, 0, nil)
			if got := state(b, second); got != cksROUser {
				t.Errorf("state %d although a session is left", got)
			}
			end(b, second)
			if got := state(b, b.open(t, "").handle); got != cksROPublic {
				t.Errorf("state %d after the last session", got)
			}
		})
	}
}

// TestLoginWhoseSessionsAreClosed is no login: the next session would begin with it.
func TestLoginWhoseSessionsAreClosed(t *testing.T) {
	b := newBench(t, "SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=rsa")
	gate := b.gate()
	session := b.open(t, "").handle
	result := make(chan Error, 1)
	go func() {
		rv, _ := b.do(wire.Login, session, ckuUser, []byte("CONFIG"))
		result <- rv
	}()
	gate.wait(t)
	b.expect(t, ckrOK, wire.CloseSession, session, 0, nil)
	gate.open()
	if rv := await(t, result); rv == ckrOK {
		t.Errorf("C_Login: %v", rv)
	}
	if b.loggedIn() {
		t.Error("logged in without a session")
	}
}

// TestLoginsThatRace: one wins, and the others learn that they were late.
func TestLoginsThatRace(t *testing.T) {
	b := newBench(t, "SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=rsa")
	b.record(t)
	gate := b.gate()
	session := b.open(t, "").handle
	const logins = 4
	results := make(chan Error, logins)
	for range logins {
		go func() {
			rv, _ := b.do(wire.Login, session, ckuUser, []byte("CONFIG"))
			results <- rv
		}()
	}
	gate.wait(t)
	gate.open()
	count := map[Error]int{}
	for range logins {
		count[await(t, results)]++
	}
	if count[ckrOK] != 1 || count[ckrUserAlreadyLoggedIn] != logins-1 {
		t.Errorf("results %v", count)
	}
	if asked := b.source.requests(); asked != "demo/rsa" {
		t.Errorf("asked %q", asked)
	}
}

func TestSecurityOfficerCannotLogIn(t *testing.T) {
	b := newBench(t, "SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true")
	readWrite := b.expect(t, ckrOK, wire.OpenSession, slotID, ckfSerialSession|ckfRWSession, nil).value
	b.expect(t, ckrUserTypeInvalid, wire.Login, readWrite, ckuSO, []byte("CONFIG"))
	b.open(t, "")
	b.expect(t, ckrSessionReadOnlyExists, wire.Login, readWrite, ckuSO, []byte("CONFIG"))
	if b.loggedIn() {
		t.Error("logged in")
	}
}

// TestHandlesOfAnEarlierTokenAreInvalid: a process that lost its token process
// and starts another must not sign with another key through an old handle.
func TestHandlesOfAnEarlierTokenAreInvalid(t *testing.T) {
	b, later := newBench(t), newBench(t)
	session, key := b.open(t, "CONFIG").handle, b.privateKey(t, "demo/rsa")
	newSession := later.open(t, "CONFIG").handle
	later.expect(t, ckrOK, wire.FindInit, newSession, 0, nil)
	later.expect(t, ckrSessionHandleInvalid, wire.CheckSession, session, 0, nil)
	for old := key; old < key+20; old++ {
		later.expect(t, ckrObjectHandleInvalid, wire.GetAttributes, newSession, old, number(ckaID))
		later.expect(t, ckrKeyHandleInvalid, wire.SignInit, newSession, old, number(ckmRSAPKCS))
	}
}

func TestRandomBytes(t *testing.T) {
	b := newBench(t)
	session := b.open(t, "").handle
	first := b.expect(t, ckrOK, wire.GenerateRandom, session, 32, nil).payload
	second := b.expect(t, ckrOK, wire.GenerateRandom, session, 32, nil).payload
	if len(first) != 32 || string(first) == string(second) {
		t.Errorf("%x and %x", first, second)
	}
	b.expect(t, ckrArgumentsBad, wire.GenerateRandom, session, wire.MaxPayload+1, nil)
}
