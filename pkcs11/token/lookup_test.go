package token

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"signkit/internal/key"
	"signkit/pkcs11/wire"
)

// withChain gives demo/rsa and demo/p256 leaves under an intermediate certificate.
func withChain(t *testing.T, b *bench) (intermediate *x509.Certificate) {
	t.Helper()
	keys := testKeys()
	intermediate = certify(t, "intermediate", keys["p521"].Public(), b.root, keys["p384"])
	for _, slug := range []string{"rsa", "p256"} {
		k := b.key("demo/" + slug)
		k.leaf = certify(t, slug, k.Public(), intermediate, keys["p521"])
		k.issuers = []*x509.Certificate{intermediate, b.root}
	}
	return intermediate
}

func bytesOf(typ uint64, value []byte) wire.Attribute { return wire.Attribute{Type: typ, Value: value} }

// hit is one search of a client, what it finds and what it costs.
type hit struct {
	template []wire.Attribute
	found    int
	asked    string
	chains   int // all requests for chains so far
}

// chains counts the requests for chains.
func (b *bench) chains() (n int) {
	for _, k := range b.source.keys {
		k.mu.Lock()
		n += k.chains
		k.mu.Unlock()
	}
	return n
}

func (b *bench) searchAll(t *testing.T, hits []hit) {
	t.Helper()
	for i, h := range hits {
		found, err := b.find(context.Background(), h.template)
		if err != nil || len(found) != h.found {
			t.Errorf("search %d: found %d, %v; want %d", i, len(found), err, h.found)
		}
		if asked := b.source.requests(); asked != h.asked {
			t.Errorf("search %d: asked %q, want %q", i, asked, h.asked)
		}
		if n := b.chains(); n != h.chains {
			t.Errorf("search %d: %d chains were asked for, want %d", i, n, h.chains)
		}
	}
}

// TestClientsSearches replays what each client searches for, in its order, in
// one process: what the service is asked in all is the client's price.
func TestClientsSearches(t *testing.T) {
	private, public, certificate := class(ckoPrivateKey), class(ckoPublicKey), class(ckoCertificate)
	onToken := bytesOf(ckaToken, yes)
	byID, byLabel := text(ckaID, "demo/p256"), text(ckaLabel, "demo/p256")
	type client struct {
		before, after []hit // the login
		login         string
	}
	tests := map[string]func(b *bench, intermediate *x509.Certificate) client{
		"libp11 0.4.11": func(*bench, *x509.Certificate) client {
			return client{after: []hit{{[]wire.Attribute{private}, 5, "/", 0}, {[]wire.Attribute{public}, 5, "", 0}, {[]wire.Attribute{certificate}, 2, "", 0}}}
		},
		"libp11 0.4.12": func(*bench, *x509.Certificate) client {
			return client{
				before: []hit{{[]wire.Attribute{private}, 0, "", 0}},
				after:  []hit{{[]wire.Attribute{private}, 5, "/", 0}, {[]wire.Attribute{public, byID}, 1, "", 0}, {[]wire.Attribute{certificate, byID}, 1, "", 0}},
			}
		},
		"libp11 0.4.13": func(*bench, *x509.Certificate) client {
			return client{
				before: []hit{{[]wire.Attribute{private, byLabel}, 0, "", 0}}, login: "demo/p256",
				after: []hit{{[]wire.Attribute{private, byLabel}, 1, "", 0}, {[]wire.Attribute{public, byID}, 1, "", 0}, {[]wire.Attribute{certificate, byID}, 1, "", 0}},
			}
		},
		"libp11 0.4.13 with a certificate's URI": func(*bench, *x509.Certificate) client {
			return client{before: []hit{{[]wire.Attribute{certificate, byLabel}, 1, "demo/p256", 0}}, after: []hit{{[]wire.Attribute{private, byID}, 1, "", 0}}}
		},
		"pkcs11-provider": func(*bench, *x509.Certificate) client {
			return client{after: []hit{{[]wire.Attribute{private, byLabel}, 1, "demo/p256", 0}, {[]wire.Attribute{byLabel}, 3, "", 0}, {[]wire.Attribute{public, byID}, 1, "", 0}}}
		},
		"jarsigner": func(b *bench, intermediate *x509.Certificate) client {
			return client{after: []hit{
				{[]wire.Attribute{onToken, private}, 5, "/", 0},
				{[]wire.Attribute{onToken, certificate}, 2, "", 0},
				{[]wire.Attribute{onToken, class(4)}, 0, "", 0},
				{[]wire.Attribute{onToken, certificate, bytesOf(ckaSubject, intermediate.RawSubject)}, 1, "", 1},
				{[]wire.Attribute{onToken, certificate, bytesOf(ckaSubject, b.root.RawSubject)}, 1, "", 1},
				{[]wire.Attribute{onToken, certificate, bytesOf(ckaSubject, intermediate.RawSubject)}, 1, "", 1},
				{[]wire.Attribute{onToken, byID, private}, 1, "", 1},
			}}
		},
		"pkcs11-tool --sign": func(*bench, *x509.Certificate) client {
			return client{after: []hit{{[]wire.Attribute{private, byID}, 1, "demo/p256", 0}, {[]wire.Attribute{public, byID}, 1, "", 0}}}
		},
		"pkcs11-tool -O": func(*bench, *x509.Certificate) client {
			return client{after: []hit{{nil, 12, "/", 0}, {nil, 12, "", 0}}}
		},
		"p11tool": func(*bench, *x509.Certificate) client {
			return client{after: []hit{{[]wire.Attribute{byLabel, private}, 1, "demo/p256", 0}, {[]wire.Attribute{byLabel, public}, 1, "", 0}, {nil, 12, "/", 0}}}
		},
		"pesign": func(b *bench, _ *x509.Certificate) client {
			leaf := b.key("demo/p256").leaf
			return client{after: []hit{
				{[]wire.Attribute{onToken, class(9)}, 0, "", 0},
				{[]wire.Attribute{class(0xCE534354)}, 0, "", 0},
				{[]wire.Attribute{onToken, class(0xCE534353), bytesOf(ckaIssuer, leaf.RawIssuer), bytesOf(ckaSerialNumber, []byte{2, 1, 1})}, 0, "", 0},
				{[]wire.Attribute{onToken, certificate}, 2, "/", 0},
				{[]wire.Attribute{byLabel, onToken, certificate}, 1, "", 0},
				{[]wire.Attribute{bytesOf(ckaValue, leaf.Raw), certificate}, 1, "", 0},
				{[]wire.Attribute{byID, private}, 1, "", 0},
			}}
		},
		"ssh": func(*bench, *x509.Certificate) client {
			return client{
				before: []hit{{[]wire.Attribute{public}, 5, "/", 0}, {[]wire.Attribute{certificate}, 2, "", 0}},
				after:  []hit{{[]wire.Attribute{private, byID, bytesOf(ckaSign, yes)}, 1, "", 0}},
			}
		},
		"cosign": func(*bench, *x509.Certificate) client {
			return client{after: []hit{
				{[]wire.Attribute{byLabel, byID, private}, 1, "demo/p256", 0},
				{[]wire.Attribute{public, bytesOf(ckaKeyType, number(ckkEC)), byID, byLabel}, 1, "", 0},
				{[]wire.Attribute{byID, certificate}, 1, "", 0},
			}}
		},
		"gnupg-pkcs11-scd": func(*bench, *x509.Certificate) client {
			return client{
				before: []hit{{[]wire.Attribute{certificate}, 2, "/", 0}, {[]wire.Attribute{private, byID}, 0, "", 0}},
				after:  []hit{{[]wire.Attribute{private, byID}, 1, "", 0}},
			}
		},
	}
	for name, makeClient := range tests {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			c := makeClient(b, withChain(t, b))
			b.open(t, "")
			b.searchAll(t, c.before)
			if err := b.logIn(context.Background(), ckuUser, "CONFIG"); err != nil {
				t.Fatal(err)
			}
			if asked := b.source.requests(); asked != c.login {
				t.Errorf("C_Login asked %q, want %q", asked, c.login)
			}
			b.searchAll(t, c.after)
		})
	}
}

// TestNothingIsAskedWithoutCredentials: a PIN will bring them.
func TestNothingIsAskedWithoutCredentials(t *testing.T) {
	b := newBench(t, "SIGNPATH_ORGANIZATION_ID=", "SIGNPATH_API_TOKEN=")
	b.open(t, "")
	b.searchAll(t, []hit{{nil, 0, "", 0}, {[]wire.Attribute{class(ckoCertificate)}, 0, "", 0}, {searchByName("demo/rsa"), 0, "", 0}})
	if err := b.logIn(context.Background(), ckuUser, organization+":"+apiToken); err != nil {
		t.Fatal(err)
	}
	if asked := b.source.requests(); asked != "demo/rsa" {
		t.Errorf("C_Login asked %q", asked)
	}
	b.searchAll(t, []hit{{searchByName("demo/rsa"), 1, "", 0}})
}

// TestProjectAloneNarrowsTheSearch, and policies of others are never asked for.
func TestProjectAloneNarrowsTheSearch(t *testing.T) {
	b := newBench(t, "SIGNPATH_PROJECT_SLUG=demo")
	b.source.keys = append(b.source.keys, &fakeKey{id: "other/rsa", private: testKeys()["rsa"]})
	b.open(t, "CONFIG")
	b.searchAll(t, []hit{
		{searchByName("other/rsa"), 0, "", 0},
		{searchByName("demo/rsa"), 1, "demo/rsa", 0},
		{[]wire.Attribute{class(ckoPrivateKey)}, 5, "demo/", 0},
		{searchByName("demo/p256"), 1, "", 0},
	})
	if !strings.Contains(b.log.String(), "SIGNPATH_PROJECT_SLUG") {
		t.Errorf("the record does not name the setting:\n%s", b.log)
	}
}

// TestMissingKeyIsExplained: the tool only says that there is no key.
func TestMissingKeyIsExplained(t *testing.T) {
	for name, test := range map[string]struct {
		template []wire.Attribute
		want     string // in one error record; "": none
	}{
		"unknown policy":      {searchByName("demo/nope"), "demo/nope"},
		"no policy's name":    {searchByName("release"), "PROJECT/POLICY"},
		"certificate":         {[]wire.Attribute{class(ckoCertificate), text(ckaID, "demo/nope")}, "demo/nope"},
		"public key":          {[]wire.Attribute{class(ckoPublicKey), text(ckaID, "demo/nope")}, "demo/nope"},
		"key without one":     {[]wire.Attribute{class(ckoCertificate), text(ckaID, "demo/gpg")}, ""},
		"issuer by its name":  {[]wire.Attribute{class(ckoCertificate), text(ckaLabel, "Some CA")}, ""},
		"any secret key":      {[]wire.Attribute{class(4)}, ""},
		"key that is there":   {searchByName("demo/rsa"), ""},
		"unknown with a sign": {append(searchByName("demo/nope"), bytesOf(ckaSign, yes)), "demo/nope"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			log := b.record(t)
			b.open(t, "CONFIG")
			if _, err := b.find(context.Background(), test.template); err != nil {
				t.Fatal(err)
			}
			if want := min(1, len(test.want)); log.errors() != want || !strings.Contains(log.String(), test.want) {
				t.Errorf("%d errors, want %d with %q:\n%s", log.errors(), want, test.want, log)
			}
			if want := min(1, len(test.want)); len(b.events) != want || want == 1 && b.events[0].Kind != key.NoSuchPolicy {
				t.Errorf("recorded %+v, want %d", b.events, want)
			}
		})
	}
}

// TestSettingsThatNameNoPolicyAreExplained: the search itself names none.
func TestSettingsThatNameNoPolicyAreExplained(t *testing.T) {
	b := newBench(t, "SIGNPATH_PROJECT_SLUG=demo", "SIGNPATH_SIGNING_POLICY_SLUG=nope")
	log := b.record(t)
	b.open(t, "CONFIG")
	b.source.requests()
	b.searchAll(t, []hit{{[]wire.Attribute{class(ckoPrivateKey)}, 0, "demo/nope", 0}})
	if log.errors() != 1 || !strings.Contains(log.String(), "demo/nope") {
		t.Errorf("no record explains it:\n%s", log)
	}
}

// TestUserWithoutPoliciesIsTold so by the search that any signing begins with.
func TestUserWithoutPoliciesIsTold(t *testing.T) {
	b := newBench(t)
	b.source.keys = nil
	log := b.record(t)
	b.open(t, "CONFIG")
	b.searchAll(t, []hit{{[]wire.Attribute{class(ckoCertificate)}, 0, "/", 0}, {nil, 0, "", 0}})
	if log.errors() != 0 {
		t.Errorf("a listing shows an error:\n%s", log)
	}
	b.searchAll(t, []hit{{[]wire.Attribute{class(ckoPrivateKey)}, 0, "", 0}})
	if log.errors() != 1 || !strings.Contains(log.String(), "submitters") {
		t.Errorf("no record explains it:\n%s", log)
	}
}

// TestPolicyThatAppears is found by the next search, without a new process.
func TestPolicyThatAppears(t *testing.T) {
	b := newBench(t)
	b.open(t, "CONFIG")
	b.searchAll(t, []hit{{searchByName("demo/new"), 0, "demo/new", 0}})
	b.source.keys = append(b.source.keys, &fakeKey{id: "demo/new", private: testKeys()["rsa"]})
	b.searchAll(t, []hit{{searchByName("demo/new"), 1, "demo/new", 0}, {searchByName("demo/new"), 1, "", 0}})
}

// TestHandlesStayWhenMoreIsFetched: tools keep them for the life of the process.
func TestHandlesStayWhenMoreIsFetched(t *testing.T) {
	b := newBench(t)
	b.open(t, "CONFIG")
	one := b.privateKey(t, "demo/p256")
	all, err := b.find(context.Background(), nil)
	if err != nil || len(all) != 12 {
		t.Fatalf("found %d, %v", len(all), err)
	}
	seen := map[uint64]bool{}
	for _, handle := range all {
		if seen[handle] || handle == 0 {
			t.Errorf("handle %d is not of its own", handle)
		}
		seen[handle] = true
	}
	if again := b.privateKey(t, "demo/p256"); again != one || !seen[one] {
		t.Errorf("the handle was %d and is %d", one, again)
	}
}

// TestSearchesThatWaitShareOneRequest, and one that gives up leaves it to the others.
func TestSearchesThatWaitShareOneRequest(t *testing.T) {
	b := newBench(t)
	log := b.record(t)
	gate := b.gate()
	b.open(t, "CONFIG")
	type outcome struct {
		found int
		err   error
	}
	search := func(ctx context.Context) chan outcome {
		c := make(chan outcome, 1)
		go func() {
			found, err := b.find(ctx, searchByName("demo/rsa"))
			c <- outcome{len(found), err}
		}()
		return c
	}
	impatientContext, giveUp := context.WithCancel(context.Background())
	impatient := search(impatientContext)
	gate.wait(t)
	patient := []chan outcome{search(context.Background()), search(context.Background())}
	giveUp()
	if o := await(t, impatient); returnValue(o.err) != ckrFunctionCanceled {
		t.Errorf("the cancelled search: %v", o.err)
	}
	gate.open()
	for _, c := range patient {
		if o := await(t, c); o.err != nil || o.found != 1 {
			t.Errorf("found %d, %v", o.found, o.err)
		}
	}
	if asked := b.source.requests(); asked != "demo/rsa" {
		t.Errorf("asked %q", asked)
	}
	if log.errors() != 0 {
		t.Errorf("errors are shown:\n%s", log)
	}
}

// TestChainThatCannotBeRead warns, and is asked for again by the next search.
func TestChainThatCannotBeRead(t *testing.T) {
	b := newBench(t)
	withChain(t, b)
	log := b.record(t)
	b.open(t, "CONFIG")
	k := &chainless{fakeKey: b.key("demo/rsa"), err: errors.New("not allowed to read certificates")}
	b.connect = nil
	ring := b.login
	if err := ring.add(k); err != nil {
		t.Fatal(err)
	}
	ring.fetched = append(ring.fetched, key.ID{})
	issuer := []wire.Attribute{class(ckoCertificate), bytesOf(ckaSubject, k.leaf.RawIssuer)}
	for n := 1; n <= 2; n++ {
		if found, err := b.find(context.Background(), issuer); err != nil || len(found) != 0 {
			t.Errorf("found %d, %v", len(found), err)
		}
		if k.asked != n {
			t.Errorf("asked %d times, want %d", k.asked, n)
		}
	}
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "not allowed to read certificates") {
		t.Errorf("no warning:\n%s", log)
	}
	k.err = nil
	if found, err := b.find(context.Background(), issuer); err != nil || len(found) != 1 {
		t.Errorf("found %d, %v", len(found), err)
	}
}

// chainless is a key whose chain cannot be read.
type chainless struct {
	*fakeKey
	asked int
	err   error
}

func (k *chainless) Chain(ctx context.Context) ([]*x509.Certificate, error) {
	k.asked++
	if k.err != nil {
		return nil, k.err
	}
	return k.fakeKey.Chain(ctx)
}

// TestIssuersOfSeveralPoliciesAreThereOnce, under names that no policy has.
func TestIssuersOfSeveralPoliciesAreThereOnce(t *testing.T) {
	b := newBench(t)
	intermediate := withChain(t, b)
	b.open(t, "CONFIG")
	b.searchAll(t, []hit{
		{[]wire.Attribute{class(ckoCertificate)}, 2, "/", 0},
		{[]wire.Attribute{bytesOf(ckaSubject, intermediate.RawSubject)}, 1, "", 1},
		{[]wire.Attribute{class(ckoCertificate)}, 4, "", 1},
		{[]wire.Attribute{class(ckoCertificate), text(ckaID, "demo/rsa")}, 1, "", 1},
		{[]wire.Attribute{class(ckoCertificate), text(ckaLabel, "intermediate")}, 1, "", 1},
		{[]wire.Attribute{class(ckoPrivateKey)}, 5, "", 1},
	})
}

// TestTemplatesOnTheWire: what is malformed is refused, before anything is asked.
func TestTemplatesOnTheWire(t *testing.T) {
	whole := encodeTemplate([]wire.Attribute{class(ckoCertificate)})
	for name, test := range map[string]struct {
		count   uint64
		payload []byte
		want    Error
	}{
		"empty":         {0, nil, ckrOK},
		"whole":         {1, whole, ckrOK},
		"too few":       {2, whole, ckrArgumentsBad},
		"too many":      {0, whole, ckrArgumentsBad},
		"cut":           {1, whole[:len(whole)-1], ckrArgumentsBad},
		"lying length":  {1, appendNumbers(nil, ckaID, ^uint64(0)), ckrArgumentsBad},
		"endless count": {^uint64(0), whole, ckrArgumentsBad},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			session := b.open(t, "CONFIG").handle
			b.expect(t, test.want, wire.FindInit, session, test.count, test.payload)
			if asked := b.source.requests(); (asked == "") != (test.want != ckrOK) {
				t.Errorf("asked %q", asked)
			}
			want := ckrOperationNotInitialized
			if test.want == ckrOK {
				want = ckrOK
			}
			b.expect(t, want, wire.FindFinal, session, 0, nil)
		})
	}
}

// TestFailedSearchBeginsNone: the tool may search again at once.
func TestFailedSearchBeginsNone(t *testing.T) {
	b := newBench(t)
	log := b.record(t)
	session := b.open(t, "CONFIG").handle
	b.source.fail = key.NewError(key.Unavailable, "maintenance until noon")
	b.expect(t, ckrFunctionFailed, wire.FindInit, session, 0, nil)
	if log.errors() != 1 || !strings.Contains(log.String(), "maintenance until noon") {
		t.Errorf("not one record with the service's text:\n%s", log)
	}
	b.expect(t, ckrOperationNotInitialized, wire.Find, session, 1, nil)
	b.source.fail = nil
	b.expect(t, ckrOK, wire.FindInit, session, 0, nil)
}
