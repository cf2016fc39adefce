package revocation

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

// issue makes a certificate with the given serial number; without an issuer it is a root.
func issue(t *testing.T, name string, serial int64, issuer *authority, lists ...string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, CRLDistributionPoints: lists,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: !strings.HasPrefix(name, "leaf"), BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.certificate, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key, certificate}
}

// list names revoked serial numbers; change may be nil.
func (a *authority) list(t *testing.T, change func(*x509.RevocationList), revoked ...int64) []byte {
	t.Helper()
	template := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, serial := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: big.NewInt(serial), RevocationTime: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)})
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateRevocationList(rand.Reader, template, a.certificate, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func write(t *testing.T, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "list.crl")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// narrowed is a list's critical IssuingDistributionPoint with one flag.
func narrowed(tag int) func(*x509.RevocationList) {
	return func(list *x509.RevocationList) {
		flag := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte{0xff}}
		value, _ := asn1.Marshal(struct{ Flag asn1.RawValue }{flag})
		list.ExtraExtensions = []pkix.Extension{{Id: oidIssuingDistributionPoint, Critical: true, Value: value}}
	}
}

func TestACertificateCountsWhereACurrentListOfItsIssuerDoesNotNameIt(t *testing.T) {
	root, other := issue(t, "root", 1, nil), issue(t, "root", 1, nil)
	leaf := issue(t, "leaf", 7, root)
	tests := []struct {
		name string
		list []byte
		want string // in the error; empty: it counts
	}{
		{"empty", root.list(t, nil), ""},
		{"others", root.list(t, nil, 6, 8), ""},
		{"PEM", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: root.list(t, nil)}), ""},
		{"revoked", root.list(t, nil, 6, 7), "revoked on 2026-01-02"},
		{"ended", root.list(t, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Minute) }), "has ended"},
		{"of a later day", root.list(t, func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(30 * time.Minute) }), "check the clock"},
		{"another root of that name", other.list(t, nil), "not the issuer's"},
		{"for users only", root.list(t, narrowed(1)), ""},
		{"for authorities only", root.list(t, narrowed(2)), "not for all"},
		{"for some reasons", root.list(t, narrowed(3)), "not for all"},
		{"of other issuers, too", root.list(t, narrowed(4)), "not for all"},
		{"changes to another list", root.list(t, func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: []byte{2, 1, 1}}}
		}), "not known here"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			checker, err := New([]string{write(t, test.list)})
			if err != nil {
				t.Fatal(err)
			}
			wantError(t, checker.Check(t.Context(), []*x509.Certificate{leaf.certificate, root.certificate}), test.want)
		})
	}
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%v; want %q", err, want)
	}
}

func TestListsAreFetchedOnceWhereNoneIsGiven(t *testing.T) {
	root := issue(t, "root", 1, nil)
	var requests atomic.Int32
	current, revoked := root.list(t, nil), root.list(t, nil, 7)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		switch r.URL.Path {
		case "/current":
			w.Write(current)
		case "/revoked":
			w.Write(revoked)
		case "/page":
			w.Write([]byte("<html>"))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer server.Close()
	tests := []struct {
		name      string
		addresses []string
		given     []byte
		requests  int32
		want      string
	}{
		{"current", []string{"/current"}, nil, 1, ""},
		{"revoked", []string{"/revoked"}, nil, 1, "revoked"},
		{"the second answers", []string{"/missing", "/current"}, nil, 2, ""},
		{"none answers", []string{"/missing"}, nil, 1, "404"},
		{"a page", []string{"/page"}, nil, 1, "--crl FILE"},
		{"given", []string{"/revoked"}, current, 0, ""},
		{"given, ended", []string{"/current"}, root.list(t, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Minute) }), 1, ""},
		{"no address", nil, nil, 0, "names no revocation list"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			requests.Store(0)
			var addresses, files []string
			for _, path := range test.addresses {
				addresses = append(addresses, server.URL+path)
			}
			if test.given != nil {
				files = []string{write(t, test.given)}
			}
			checker, err := New(files)
			if err != nil {
				t.Fatal(err)
			}
			chain := []*x509.Certificate{issue(t, "leaf", 7, root, addresses...).certificate, root.certificate}
			for range 2 {
				wantError(t, checker.Check(t.Context(), chain), test.want)
			}
			if got := requests.Load(); got != test.requests {
				t.Errorf("%d requests, want %d", got, test.requests)
			}
		})
	}
}

func TestIssuersAreLookedUpToo(t *testing.T) {
	root := issue(t, "root", 1, nil)
	intermediate := issue(t, "intermediate", 5, root)
	leaf := issue(t, "leaf", 7, intermediate)
	checker, err := New([]string{write(t, root.list(t, nil, 5)), write(t, intermediate.list(t, nil))})
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, checker.Check(t.Context(), []*x509.Certificate{leaf.certificate, intermediate.certificate, root.certificate}), "intermediate")
	wantError(t, checker.Check(t.Context(), []*x509.Certificate{leaf.certificate, intermediate.certificate}), "") // trusted as it is
}

func TestWhatIsNoListIsRefused(t *testing.T) {
	_, err := New([]string{write(t, []byte("text"))})
	wantError(t, err, "reading a revocation list")
}
