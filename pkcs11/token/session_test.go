package token

import (
	"context"
	"strings"
	"testing"

	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

// searchByName is the search of libp11 0.4.13 for a private key.
func searchByName(label string) []wire.Attribute {
	return []wire.Attribute{class(ckoPrivateKey), text(ckaLabel, label)}
}

// TestLogin: forms of the PIN, what the service is asked, and what the tool sees.
func TestLogin(t *testing.T) {
	pin := organization + ":" + apiToken
	unauthorized := key.NewError(key.BadToken, "x")
	tests := []struct {
		name        string
		environment []string
		user        uint64
		pin         string
		fail        error
		want        Error
		asked       string
	}{
		{"CONFIG", nil, ckuUser, "CONFIG", nil, ckrOK, ""},
		{"organization and token", nil, ckuUser, pin, nil, ckrOK, ""},
		{"empty", nil, ckuUser, "", nil, ckrPINLenRange, ""},
		{"cut after 32 bytes", nil, ckuUser, pin[:32], nil, ckrPINLenRange, ""},
		{"wrong form", nil, ckuUser, "1234", nil, ckrPINIncorrect, ""},
		{"CONFIG without a token", []string{"SIGNPATH_API_TOKEN="}, ckuUser, "CONFIG", nil, ckrGeneralError, ""},
		{"security officer", nil, ckuSO, pin, nil, ckrSessionReadOnlyExists, ""},
		{"context specific", nil, ckuContextSpecific, pin, nil, ckrOperationNotInitialized, ""},
		{"unknown user", nil, 9, pin, nil, ckrUserTypeInvalid, ""},
		{"one policy is known", []string{"SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=rsa"}, ckuUser, "CONFIG", nil, ckrOK, "demo/rsa"},
		{"one policy is known, token refused", []string{"SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=rsa"}, ckuUser, "CONFIG", unauthorized, ckrPINIncorrect, "demo/rsa"},
		{"token refused, no policy is known", nil, ckuUser, "CONFIG", unauthorized, ckrOK, ""},
		{"broken settings", []string{"SIGNPATH_TIMEOUTS_RETRY_COUNT=many"}, ckuUser, "CONFIG", nil, ckrGeneralError, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, test.environment...)
			b.source.fail = test.fail
			s := b.open(t, "")
			err := b.logIn(context.Background(), test.user, test.pin)
			if got := returnValue(err); got != test.want {
				t.Errorf("got %v (%v), want %v", got, err, test.want)
			}
			if asked := b.source.requests(); asked != test.asked {
				t.Errorf("asked %q, want %q", asked, test.asked)
			}
			if err != nil && strings.Contains(err.Error(), apiToken[:10]) {
				t.Errorf("the error shows the token: %v", err)
			}
			if got := b.loggedIn(); got != (test.want == ckrOK) {
				t.Errorf("logged in: %v", got)
			}
			if err := b.closeSession(s.handle); err != nil || b.loggedIn() {
				t.Errorf("the end of the last session is not the end of the login: %v", err)
			}
		})
	}
}

func TestLoginTwiceAndLogout(t *testing.T) {
	b := newBench(t)
	b.open(t, "CONFIG")
	ctx := context.Background()
	if err := b.logIn(ctx, ckuUser, "CONFIG"); err != ckrUserAlreadyLoggedIn {
		t.Errorf("second login: %v", err)
	}
	if err := b.logOut(); err != nil {
		t.Error(err)
	}
	if err := b.logOut(); err != ckrUserNotLoggedIn {
		t.Errorf("second logout: %v", err)
	}
}

// TestSearchNamesThePolicyForTheLogin: libp11 searches before it logs in.
func TestSearchNamesThePolicyForTheLogin(t *testing.T) {
	b := newBench(t)
	b.open(t, "")
	ctx := context.Background()
	if found, err := b.find(ctx, searchByName("demo/rsa")); err != nil || len(found) != 0 {
		t.Fatalf("found %d, %v", len(found), err)
	}
	if err := b.logIn(ctx, ckuUser, "CONFIG"); err != nil {
		t.Fatal(err)
	}
	if asked := b.source.requests(); asked != "demo/rsa" {
		t.Errorf("login asked %q", asked)
	}
	if found, err := b.find(ctx, searchByName("demo/rsa")); err != nil || len(found) != 1 {
		t.Errorf("found %d, %v", len(found), err)
	}
	if asked := b.source.requests(); asked != "" {
		t.Errorf("the search asked %q again", asked)
	}
}

func TestReadWriteSessions(t *testing.T) {
	const flags = ckfSerialSession | ckfRWSession
	b := newBench(t)
	_, err := b.openSession(slotID, flags)
	if returnValue(err) != ckrTokenWriteProtected || !strings.Contains(err.Error(), "SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS") {
		t.Errorf("got %v", err)
	}
	b = newBench(t, "SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true")
	handle, err := b.openSession(slotID, flags)
	if err != nil {
		t.Fatal(err)
	}
	s, err := b.session(handle)
	if err != nil {
		t.Fatal(err)
	}
	for want, change := range []func() error{2: func() error { return nil }, 3: func() error { return b.logIn(context.Background(), ckuUser, "CONFIG") }} {
		if change == nil {
			continue
		}
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if state := b.sessionInfo(s)[8]; int(state) != want {
			t.Errorf("state %d, want %d", state, want)
		}
	}
}
