package token

import (
	"context"
	"errors"
	"strings"
	"testing"

	"signkit/internal/config"
	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

const (
	secondOrganization = "fedcba98-7654-3210-fedc-ba9876543210"
	secondToken        = "YW5vdGhlci10b2tlbi1vZi1hbm90aGVyLXVzZXI"
)

// TestPINNeverShows: whatever a tool passes on and however it ends, no record
// and no error holds the PIN or half of it.
func TestPINNeverShows(t *testing.T) {
	pin := secondOrganization + ":" + secondToken
	unauthorized := key.NewError(key.BadToken, "no such user")
	for name, test := range map[string]struct {
		pin  string
		fail error
		want Error
	}{
		"right":                  {pin, nil, ckrOK},
		"with a line break":      {pin + "\r\n", nil, ckrOK},
		"refused":                {pin, unauthorized, ckrPINIncorrect},
		"service down":           {pin, key.NewError(key.Unavailable, "down"), ckrFunctionFailed},
		"cut within the id":      {pin[:32], nil, ckrPINLenRange},
		"cut after the id":       {pin[:36], nil, ckrPINLenRange},
		"cut after the colon":    {pin[:37], nil, ckrPINLenRange},
		"the token alone":        {secondToken, nil, ckrPINIncorrect},
		"the other way round":    {secondToken + ":" + secondOrganization, nil, ckrPINIncorrect},
		"no colon":               {secondOrganization + secondToken, nil, ckrPINIncorrect},
		"a blank in it":          {secondOrganization + ": " + secondToken, nil, ckrPINIncorrect},
		"a NUL in it":            {pin + "\x00", nil, ckrPINIncorrect},
		"not UTF-8":              {pin + "\xff\xfe", nil, ckrPINIncorrect},
		"escaped as in a URI":    {strings.Replace(pin, ":", "%3A", 1), nil, ckrPINIncorrect},
		"config in small":        {"config", nil, ckrPINIncorrect},
		"settings' cut of token": {organization + ":" + apiToken[:len(apiToken)/2], nil, ckrPINLenRange},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=rsa")
			log := b.record(t)
			b.source.fail = test.fail
			session := b.open(t, "").handle
			b.expect(t, test.want, wire.Login, session, ckuUser, []byte(test.pin))
			if want := min(1, int(test.want)); log.errors() != want {
				t.Errorf("%d error records, want %d:\n%s", log.errors(), want, log)
			}
			for _, token := range []string{secondToken, apiToken} {
				half := len(token) / 2
				for _, secret := range []string{token, token[:half], token[half:]} {
					if strings.Contains(log.String(), secret) {
						t.Errorf("the log shows %d bytes of a token:\n%s", len(secret), log)
					}
				}
			}
		})
	}
}

// TestCutPINIsExplained: libp11 before 0.4.12 passes on 32 bytes.
func TestCutPINIsExplained(t *testing.T) {
	b := newBench(t)
	log := b.record(t)
	b.expect(t, ckrPINLenRange, wire.Login, b.open(t, "").handle, ckuUser, []byte(secondOrganization[:32]))
	if !strings.Contains(log.String(), "CONFIG") || !strings.Contains(log.String(), "SIGNPATH_API_TOKEN") {
		t.Errorf("the record does not say what to do:\n%s", log)
	}
}

// twoUsers gives the bench a second user, with a key of the same name.
func twoUsers(b *bench) (second *fakeSource) {
	second = &fakeSource{keys: []*fakeKey{{id: "demo/rsa", private: testKeys()["rsa"]}}}
	b.connect = func(cfg *config.Config) (Source, error) {
		if cfg.APIToken.Reveal() == secondToken {
			return second, nil
		}
		return b.source, nil
	}
	return second
}

// TestUsersDoNotSeeEachOthersObjects: two logins in one process.
func TestUsersDoNotSeeEachOthersObjects(t *testing.T) {
	b := newBench(t)
	second := twoUsers(b)
	session := b.open(t, "CONFIG").handle
	first := b.privateKey(t, "demo/rsa")
	b.expect(t, ckrOK, wire.Logout, session, 0, nil)
	b.expect(t, ckrOK, wire.Login, session, ckuUser, []byte(secondOrganization+":"+secondToken))
	if asked := second.requests(); asked != "demo/rsa" { // the first user's search named it
		t.Errorf("C_Login asked %q", asked)
	}
	b.expect(t, ckrObjectHandleInvalid, wire.GetAttributes, session, first, number(ckaID))
	b.expect(t, ckrKeyHandleInvalid, wire.SignInit, session, first, number(ckmSHA256RSAPKCS))
	if found, err := b.find(context.Background(), nil); err != nil || len(found) != 2 {
		t.Errorf("found %d, %v", len(found), err)
	}
	own := b.privateKey(t, "demo/rsa")
	if own == first {
		t.Error("both users' keys have one handle")
	}
	b.expect(t, ckrOK, wire.SignInit, session, own, number(ckmSHA256RSAPKCS))
	b.expect(t, ckrOK, wire.Sign, session, 0, []byte(message))
	if n, m := b.key("demo/rsa").signatures(), second.keys[0].signatures(); n != 0 || m != 1 {
		t.Errorf("%d and %d signatures", n, m)
	}
	b.expect(t, ckrOK, wire.Logout, session, 0, nil)
	b.expect(t, ckrOK, wire.Login, session, ckuUser, []byte("CONFIG"))
	// Handles of before a logout stay invalid (PKCS #11 v2.40, C_Logout), those of the same user, too.
	b.expect(t, ckrObjectHandleInvalid, wire.GetAttributes, session, first, number(ckaID))
	b.expect(t, ckrKeyHandleInvalid, wire.SignInit, session, first, number(ckmSHA256RSAPKCS))
	b.expect(t, ckrKeyHandleInvalid, wire.SignInit, session, own, number(ckmSHA256RSAPKCS))
	b.expect(t, ckrOK, wire.SignInit, session, b.privateKey(t, "demo/rsa"), number(ckmSHA256RSAPKCS))
}

// TestBeforeLogin: public objects may be seen with the settings' credentials,
// private ones neither found nor read nor used.
func TestBeforeLogin(t *testing.T) {
	b := newBench(t)
	session := b.open(t, "CONFIG").handle
	private := b.privateKey(t, "demo/rsa")
	public, err := b.find(context.Background(), []wire.Attribute{class(ckoPublicKey), text(ckaID, "demo/rsa")})
	if err != nil || len(public) != 1 {
		t.Fatalf("found %d, %v", len(public), err)
	}
	b.expect(t, ckrOK, wire.Logout, session, 0, nil)
	if found, err := b.find(context.Background(), []wire.Attribute{text(ckaLabel, "demo/rsa")}); err != nil || len(found) != 2 {
		t.Errorf("found %d objects, %v; want the public key and the certificate", len(found), err)
	}
	b.expect(t, ckrOK, wire.GetAttributes, session, public[0], number(ckaID))
	for _, call := range []uint32{wire.GetAttributes, wire.GetObjectSize} {
		b.expect(t, ckrObjectHandleInvalid, call, session, private, number(ckaID))
	}
	b.expect(t, ckrUserNotLoggedIn, wire.SignInit, session, private, number(ckmSHA256RSAPKCS))
}

// TestSignInitWithOtherObjects: only a private key signs.
func TestSignInitWithOtherObjects(t *testing.T) {
	b := newBench(t)
	session := b.open(t, "CONFIG").handle
	for wanted, rv := range map[uint64]Error{ckoPublicKey: ckrKeyFunctionNotPermitted, ckoCertificate: ckrKeyHandleInvalid} {
		found, err := b.find(context.Background(), []wire.Attribute{class(wanted), text(ckaID, "demo/rsa")})
		if err != nil || len(found) != 1 {
			t.Fatalf("found %d, %v", len(found), err)
		}
		b.expect(t, rv, wire.SignInit, session, found[0], number(ckmSHA256RSAPKCS))
	}
	b.expect(t, ckrKeyHandleInvalid, wire.SignInit, session, 0, number(ckmSHA256RSAPKCS))
}

// TestPrepareMakesTheSource of the settings' credentials, for the searches to use, and asks it for nothing.
func TestPrepareMakesTheSource(t *testing.T) {
	named := []string{"SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=rsa"}
	for name, test := range map[string]struct {
		environment []string
		made        int
	}{
		"credentials":         {named, 1},
		"no credentials":      {append(named, "SIGNPATH_API_TOKEN="), 0},
		"settings are broken": {append(named, "SIGNPATH_TIMEOUTS_RETRY_COUNT=many"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, test.environment...)
			connect, made := b.connect, 0
			b.connect = func(cfg *config.Config) (Source, error) {
				made++
				return connect(cfg)
			}
			b.Prepare()
			if asked := b.source.requests(); asked != "" || made != test.made {
				t.Errorf("asked %q, %d sources made", asked, made)
			}
			if test.made == 0 {
				return
			}
			b.open(t, "CONFIG")
			b.privateKey(t, "demo/rsa")
			if asked := b.source.requests(); asked != "demo/rsa" || made != 1 {
				t.Errorf("asked %q, %d sources made", asked, made)
			}
		})
	}
}

// TestBrokenSettingsAreTheFirstCallsError, which names the setting; what needs none works.
func TestBrokenSettingsAreTheFirstCallsError(t *testing.T) {
	b := newBench(t, "SIGNPATH_TIMEOUTS_RETRY_COUNT=many")
	log := b.record(t)
	session := b.open(t, "").handle
	b.expect(t, ckrOK, wire.GetTokenInfo, slotID, 0, nil)
	b.expect(t, ckrOK, wire.GetMechanismList, slotID, 0, nil)
	if log.errors() != 0 {
		t.Errorf("errors are shown before a call needs the settings:\n%s", log)
	}
	b.expect(t, ckrGeneralError, wire.FindInit, session, 0, nil)
	b.expect(t, ckrGeneralError, wire.Login, session, ckuUser, []byte("CONFIG"))
	if log.errors() != 2 || !strings.Contains(log.String(), "SIGNPATH_TIMEOUTS_RETRY_COUNT") {
		t.Errorf("the setting is not named:\n%s", log)
	}
}

// TestClientThatCannotBeMade is an error of the call, and tried again by the next.
func TestClientThatCannotBeMade(t *testing.T) {
	b := newBench(t)
	connect := b.connect
	b.connect = func(*config.Config) (Source, error) { return nil, errors.New("the file of SIGNKIT_CA_FILE is missing") }
	log := b.record(t)
	session := b.open(t, "").handle
	b.expect(t, ckrGeneralError, wire.Login, session, ckuUser, []byte("CONFIG"))
	if !strings.Contains(log.String(), "SIGNKIT_CA_FILE") {
		t.Errorf("no record says why:\n%s", log)
	}
	b.connect = connect
	b.expect(t, ckrOK, wire.Login, session, ckuUser, []byte("CONFIG"))
}
