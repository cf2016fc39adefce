package token

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

func class(n uint64) wire.Attribute { return wire.Attribute{Type: ckaClass, Value: number(n)} }

func text(typ uint64, value string) wire.Attribute {
	return wire.Attribute{Type: typ, Value: []byte(value)}
}

// TestSearches: what each template finds, and what it makes the token ask.
func TestSearches(t *testing.T) {
	private, public, certificate := class(ckoPrivateKey), class(ckoPublicKey), class(ckoCertificate)
	onToken := wire.Attribute{Type: ckaToken, Value: yes}
	tests := []struct {
		name     string
		pin      string
		template []wire.Attribute
		found    int
		asked    string
	}{
		{"libp11 0.4.13, by label", "CONFIG", []wire.Attribute{private, text(ckaLabel, "demo/rsa")}, 1, "demo/rsa"},
		{"by id", "CONFIG", []wire.Attribute{private, text(ckaID, "demo/rsa")}, 1, "demo/rsa"},
		{"by both", "CONFIG", []wire.Attribute{private, text(ckaID, "demo/rsa"), text(ckaLabel, "demo/rsa")}, 1, "demo/rsa"},
		{"by two names", "CONFIG", []wire.Attribute{private, text(ckaID, "demo/rsa"), text(ckaLabel, "demo/p256")}, 0, ""},
		{"provider, all classes", "CONFIG", []wire.Attribute{text(ckaLabel, "demo/rsa")}, 3, "demo/rsa"},
		{"libp11 0.4.12, all private keys", "CONFIG", []wire.Attribute{private}, 5, "/"},
		{"all objects", "CONFIG", nil, 12, "/"},
		{"all public keys", "CONFIG", []wire.Attribute{public}, 5, "/"},
		{"all certificates", "CONFIG", []wire.Attribute{onToken, certificate}, 2, "/"},
		{"unknown policy", "CONFIG", []wire.Attribute{private, text(ckaID, "demo/nope")}, 0, "demo/nope"},
		{"no policy's name", "CONFIG", []wire.Attribute{private, text(ckaLabel, "release")}, 0, ""},
		{"private key before login", "", []wire.Attribute{private, text(ckaLabel, "demo/rsa")}, 0, ""},
		{"all private keys before login", "", []wire.Attribute{private}, 0, ""},
		{"certificates before login", "", []wire.Attribute{certificate}, 2, "/"},
		{"certificate by name before login", "", []wire.Attribute{certificate, text(ckaID, "demo/rsa")}, 1, "demo/rsa"},
		{"ssh, keys that sign", "CONFIG", []wire.Attribute{private, text(ckaID, "demo/rsa"), {Type: ckaSign, Value: yes}}, 1, "demo/rsa"},
		{"secret keys", "CONFIG", []wire.Attribute{class(4)}, 0, ""},
		{"NSS trust", "CONFIG", []wire.Attribute{class(0xCE534354)}, 0, ""},
		{"session objects", "CONFIG", []wire.Attribute{{Type: ckaToken, Value: no}}, 0, ""},
		{"class of four bytes", "CONFIG", []wire.Attribute{{Type: ckaClass, Value: []byte{3, 0, 0, 0}}}, 0, ""},
		{"unknown attribute", "CONFIG", []wire.Attribute{private, text(ckaID, "demo/rsa"), {Type: 0x999, Value: yes}}, 0, "demo/rsa"},
		{"issuer by its name", "CONFIG", []wire.Attribute{certificate, text(ckaLabel, "root")}, 1, "/"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			b.open(t, test.pin)
			for range 2 { // the second search asks nothing, unless nothing was found
				found, err := b.find(context.Background(), test.template)
				if err != nil || len(found) != test.found {
					t.Fatalf("found %d, %v; want %d", len(found), err, test.found)
				}
				if asked := b.source.requests(); asked != test.asked {
					t.Errorf("asked %q, want %q", asked, test.asked)
				}
				if test.name != "unknown policy" {
					test.asked = ""
				}
			}
		})
	}
}

// TestChainIsFetchedForItsSubject: jarsigner walks up by subject.
func TestChainIsFetchedForItsSubject(t *testing.T) {
	b := newBench(t)
	b.open(t, "CONFIG")
	ctx := context.Background()
	leaf := b.key("demo/rsa").leaf
	if _, err := b.find(ctx, []wire.Attribute{class(ckoPrivateKey), text(ckaID, "demo/rsa")}); err != nil {
		t.Fatal(err)
	}
	b.source.requests()
	for range 2 {
		found, err := b.find(ctx, []wire.Attribute{class(ckoCertificate), {Type: ckaSubject, Value: leaf.RawIssuer}})
		if err != nil || len(found) != 1 {
			t.Fatalf("found %d issuers, %v", len(found), err)
		}
		o, err := b.lookUp(found[0])
		if err != nil || !o.certificate.Equal(b.root) {
			t.Errorf("the issuer is not the root: %v", err)
		}
	}
	if asked, chains := b.source.requests(), b.key("demo/rsa").chains; asked != "" || chains != 1 {
		t.Errorf("asked %q and for %d chains", asked, chains)
	}
}

func TestSettingsNarrowTheSearch(t *testing.T) {
	b := newBench(t, "SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=p256")
	b.open(t, "CONFIG")
	for _, test := range []struct {
		template []wire.Attribute
		found    int
	}{
		{[]wire.Attribute{class(ckoPrivateKey)}, 1},
		{[]wire.Attribute{class(ckoPrivateKey), text(ckaID, "demo/p256")}, 1},
		{[]wire.Attribute{class(ckoPrivateKey), text(ckaID, "demo/rsa")}, 0},
	} {
		if found, err := b.find(context.Background(), test.template); err != nil || len(found) != test.found {
			t.Errorf("%v: found %d, %v; want %d", test.template, len(found), err, test.found)
		}
	}
	if asked := b.source.requests(); asked != "demo/p256" {
		t.Errorf("asked %q", asked)
	}
	if !strings.Contains(b.log.String(), "SIGNPATH_SIGNING_POLICY_SLUG") {
		t.Errorf("the record does not name the setting:\n%s", b.log)
	}
}

func TestConcurrentSearchesShareOneRequest(t *testing.T) {
	b := newBench(t)
	b.open(t, "CONFIG")
	var wait sync.WaitGroup
	for range 32 {
		wait.Go(func() {
			if found, err := b.find(context.Background(), []wire.Attribute{class(ckoPrivateKey)}); err != nil || len(found) != 5 {
				t.Errorf("found %d, %v", len(found), err)
			}
		})
	}
	wait.Wait()
	if asked := b.source.requests(); asked != "/" {
		t.Errorf("asked %q", asked)
	}
}

func TestFailedRequestIsNotKept(t *testing.T) {
	b := newBench(t)
	b.open(t, "CONFIG")
	template := []wire.Attribute{class(ckoPrivateKey), text(ckaID, "demo/rsa")}
	b.source.fail = key.NewError(key.Unavailable, "down")
	if _, err := b.find(context.Background(), template); returnValue(err) != ckrFunctionFailed {
		t.Errorf("got %v", err)
	}
	b.source.fail = nil
	if found, err := b.find(context.Background(), template); err != nil || len(found) != 1 {
		t.Errorf("found %d, %v", len(found), err)
	}
}

// TestErrorsOfTheServiceAsReturnValues is the table of what a tool sees.
func TestErrorsOfTheServiceAsReturnValues(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want Error
	}{
		{"no answer", key.NewError(key.Network, "reset"), ckrFunctionFailed},
		{"503", key.NewError(key.Unavailable, "down"), ckrFunctionFailed},
		{"500", key.NewError(key.Broken, "x"), ckrDeviceError},
		{"400", key.NewError(key.BadRequest, "x"), ckrArgumentsBad},
		{"403", key.NewError(key.Forbidden, "x"), ckrArgumentsBad},
		{"untrusted certificate", key.NewError(key.Untrusted, "x"), ckrGeneralError},
		{"wrong signature", key.NewError(key.BadAnswer, "x"), ckrDeviceError},
		{"time-out", key.NewError(key.NotDone, "x"), ckrFunctionFailed},
		{"cancelled", context.Canceled, ckrFunctionCanceled},
		{"anything else", errors.New("x"), ckrGeneralError},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := returnValue(keyFailure(test.err)); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// FuzzTemplate searches with arbitrary templates.
func FuzzTemplate(f *testing.F) {
	f.Add(uint64(ckaClass), number(ckoPrivateKey), uint64(ckaID), []byte("demo/rsa"))
	f.Add(uint64(ckaSubject), []byte{}, uint64(ckaLabel), []byte("/"))
	b := newBench(f)
	b.open(f, "CONFIG")
	f.Fuzz(func(t *testing.T, typ1 uint64, value1 []byte, typ2 uint64, value2 []byte) {
		template := []wire.Attribute{{Type: typ1, Value: value1}, {Type: typ2, Value: value2}}
		found, err := b.find(context.Background(), template)
		if err != nil {
			t.Fatal(err)
		}
		for _, handle := range found {
			o, err := b.lookUp(handle)
			if err != nil || !o.matches(template) {
				t.Errorf("object %d does not match: %v", handle, err)
			}
		}
	})
}
