package token

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"time"

	"signkit/internal/event"
	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

// request is one call of the module.
type request struct {
	wire.Request
	ctx     context.Context
	payload *wire.Reader
	socket  any
}

// result is what a call returns besides its return value.
type result struct {
	value   uint64
	payload []byte
}

type call struct {
	name  string
	waits bool
	run   func(*Token, *request) (result, error)
}

// calls is the whole protocol, but for updates, which have no answer. What may
// wait for the service is announced while it waits.
var calls = [...]call{
	wire.CheckSession:     {"check session", false, (*Token).callCheckSession},
	wire.GetSlotList:      {"C_GetSlotList", false, (*Token).callGetSlotList},
	wire.GetSlotInfo:      {"C_GetSlotInfo", false, (*Token).callGetSlotInfo},
	wire.GetTokenInfo:     {"C_GetTokenInfo", false, (*Token).callGetTokenInfo},
	wire.GetMechanismList: {"C_GetMechanismList", false, (*Token).callGetMechanismList},
	wire.GetMechanismInfo: {"C_GetMechanismInfo", false, (*Token).callGetMechanismInfo},
	wire.OpenSession:      {"C_OpenSession", false, (*Token).callOpenSession},
	wire.CloseSession:     {"C_CloseSession", false, (*Token).callCloseSession},
	wire.CloseAllSessions: {"C_CloseAllSessions", false, (*Token).callCloseAllSessions},
	wire.GetSessionInfo:   {"C_GetSessionInfo", false, (*Token).callGetSessionInfo},
	wire.Login:            {"C_Login", true, (*Token).callLogin},
	wire.Logout:           {"C_Logout", false, (*Token).callLogout},
	wire.FindInit:         {"C_FindObjectsInit", true, (*Token).callFindInit},
	wire.Find:             {"C_FindObjects", false, (*Token).callFind},
	wire.FindFinal:        {"C_FindObjectsFinal", false, (*Token).callFindFinal},
	wire.GetAttributes:    {"C_GetAttributeValue", false, (*Token).callGetAttributes},
	wire.GetObjectSize:    {"C_GetObjectSize", false, (*Token).callGetObjectSize},
	wire.SignInit:         {"C_SignInit", false, (*Token).callSignInit},
	wire.Sign:             {"C_Sign", true, (*Token).callSign},
	wire.SignFinal:        {"C_SignFinal", true, (*Token).callSignFinal},
	wire.SignCancel:       {"cancel sign operation", false, (*Token).callSignCancel},
	wire.GenerateRandom:   {"C_GenerateRandom", false, (*Token).callGenerateRandom},
}

// findCall is nil for a number that is none.
func findCall(number uint32) *call {
	if number >= uint32(len(calls)) || calls[number].run == nil {
		return nil
	}
	return &calls[number]
}

// handle runs one call and logs it: what a person must see as an error, the
// rest for debugging. Arguments are not logged; one may be a PIN.
func (t *Token) handle(r *request) (rv Error, res result) {
	call := findCall(r.Call)
	if call == nil {
		return ckrFunctionNotSupported, result{}
	}
	res, err := call.run(t, r)
	rv = returnValue(err)
	t.report(r.ctx, call.name, rv, err)
	return rv, res
}

func (t *Token) report(ctx context.Context, name string, rv Error, err error) {
	var f *failure
	if errors.As(err, &f) && !errors.Is(err, context.Canceled) {
		t.log.Error(f.Error(), "call", name, "result", rv.Error())
		t.recordFailure(ctx, f)
		return
	}
	if t.log.Enabled(ctx, slog.LevelDebug) {
		t.log.Debug(name, "result", rv.Error())
	}
}

func (t *Token) recordFailure(ctx context.Context, err error) {
	if t.record == nil || event.IsTold(err) {
		return
	}
	e := event.Event{Time: time.Now().UTC(), Caller: event.CallerIn(ctx)}
	e.Fail(err)
	if t.configErr != nil && errors.Is(err, t.configErr) {
		e.Kind = key.Settings
	}
	t.record(e)
}

func (t *Token) callCheckSession(r *request) (result, error) {
	_, err := t.session(r.Handle)
	return result{}, err
}

func (t *Token) callGetSlotList(*request) (result, error) {
	return result{payload: appendNumbers(nil, slotID)}, nil
}

func (t *Token) callGetSlotInfo(r *request) (result, error) {
	return result{payload: slotInfo()}, checkSlot(r.Handle)
}

func (t *Token) callGetTokenInfo(r *request) (result, error) {
	return result{payload: t.tokenInfo()}, checkSlot(r.Handle)
}

func (t *Token) callGetMechanismList(r *request) (result, error) {
	return result{payload: appendNumbers(nil, mechanismTypes()...)}, checkSlot(r.Handle)
}

func (t *Token) callGetMechanismInfo(r *request) (result, error) {
	if err := checkSlot(r.Handle); err != nil {
		return result{}, err
	}
	info, err := mechanismInfo(r.Number)
	return result{payload: info}, err
}

func (t *Token) callOpenSession(r *request) (result, error) {
	handle, err := t.openSession(r.Handle, r.Number)
	return result{value: handle}, err
}

func (t *Token) callCloseSession(r *request) (result, error) {
	return result{}, t.closeSession(r.Handle)
}

func (t *Token) callCloseAllSessions(r *request) (result, error) {
	return result{}, t.closeAllSessions(r.Handle)
}

func (t *Token) callGetSessionInfo(r *request) (result, error) {
	s, err := t.session(r.Handle)
	if err != nil {
		return result{}, err
	}
	return result{payload: t.sessionInfo(s)}, nil
}

func (t *Token) callLogin(r *request) (result, error) {
	if _, err := t.session(r.Handle); err != nil {
		return result{}, err
	}
	return result{}, t.logIn(r.ctx, r.Number, string(r.payload.Rest()))
}

func (t *Token) callLogout(r *request) (result, error) {
	if _, err := t.session(r.Handle); err != nil {
		return result{}, err
	}
	return result{}, t.logOut()
}

func (t *Token) callFindInit(r *request) (result, error) {
	s, err := t.session(r.Handle)
	if err != nil {
		return result{}, err
	}
	template := r.payload.Attributes(r.Number)
	if r.payload.Done() != nil {
		return result{}, ckrArgumentsBad
	}
	if s.isSearching() {
		return result{}, ckrOperationActive
	}
	found, err := t.find(r.ctx, template)
	if err != nil {
		return result{}, err
	}
	return result{}, s.beginSearch(found)
}

func (t *Token) callFind(r *request) (result, error) {
	s, err := t.session(r.Handle)
	if err != nil {
		return result{}, err
	}
	const most = wire.MaxPayload / 8
	found, err := s.takeFound(min(r.Number, most))
	return result{payload: appendNumbers(nil, found...)}, err
}

func (t *Token) callFindFinal(r *request) (result, error) {
	s, err := t.session(r.Handle)
	if err != nil {
		return result{}, err
	}
	return result{}, s.endSearch()
}

// lookUp finds a visible object.
func (t *Token) lookUp(handle uint64) (*object, error) {
	ring, err := t.visible()
	if err != nil {
		return nil, err
	}
	if ring == nil {
		return nil, ckrObjectHandleInvalid
	}
	o := ring.object(handle)
	if o == nil || o.private && !t.loggedIn() {
		return nil, ckrObjectHandleInvalid
	}
	return o, nil
}

func (t *Token) callGetAttributes(r *request) (result, error) {
	if _, err := t.session(r.Handle); err != nil {
		return result{}, err
	}
	o, err := t.lookUp(r.Number)
	if err != nil {
		return result{}, err
	}
	var types []uint64
	for r.payload.Len() >= 8 {
		types = append(types, r.payload.Uint64())
	}
	if r.payload.Done() != nil {
		return result{}, ckrArgumentsBad
	}
	values, err := o.values(types)
	return result{payload: values}, err
}

func (t *Token) callGetObjectSize(r *request) (result, error) {
	if _, err := t.session(r.Handle); err != nil {
		return result{}, err
	}
	o, err := t.lookUp(r.Number)
	if err != nil {
		return result{}, err
	}
	return result{value: o.size()}, nil
}

func (t *Token) callSignInit(r *request) (result, error) {
	s, err := t.session(r.Handle)
	if err != nil {
		return result{}, err
	}
	mechanismID, parameter := r.payload.Uint64(), r.payload.Rest()
	if r.payload.Done() != nil {
		return result{}, ckrArgumentsBad
	}
	// The operation outlives this call.
	o, err := t.signInit(context.WithoutCancel(r.ctx), s, r.socket, mechanismID, parameter, r.Number)
	if err != nil {
		return result{}, err
	}
	var flags uint64
	if o.mechanism.multiPart() {
		flags = wire.MultiPart
	}
	return result{value: signatureLength(o.key.Public()), payload: number(flags)}, nil
}

// finishing runs the last call of an operation, which ends it in any case.
func (t *Token) finishing(r *request, finish func(*operation) ([]byte, error)) (result, error) {
	s, err := t.session(r.Handle)
	if err != nil {
		return result{}, err
	}
	o, err := s.current(r.socket)
	if err != nil {
		return result{}, err
	}
	defer o.end()
	stop := context.AfterFunc(r.ctx, func() { o.cancel(ckrFunctionCanceled) })
	defer stop()
	signature, err := finish(o)
	return result{payload: signature}, err
}

func (t *Token) callSign(r *request) (result, error) {
	return t.finishing(r, func(o *operation) ([]byte, error) { return t.signData(o, r.payload.Rest()) })
}

func (t *Token) callSignFinal(r *request) (result, error) {
	return t.finishing(r, func(o *operation) ([]byte, error) { return t.final(o, r.Number) })
}

func (t *Token) callSignCancel(r *request) (result, error) {
	return t.finishing(r, func(*operation) ([]byte, error) { return nil, nil })
}

func (t *Token) callGenerateRandom(r *request) (result, error) {
	if _, err := t.session(r.Handle); err != nil {
		return result{}, err
	}
	if r.Number > wire.MaxPayload {
		return result{}, ckrArgumentsBad
	}
	random := make([]byte, r.Number)
	_, err := rand.Read(random)
	return result{payload: random}, err
}
