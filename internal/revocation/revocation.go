// Package revocation asks certificate revocation lists (RFC 5280, section 5) whether certificates still count.
package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	fetchLimit = 10 * time.Second // for one list
	mostList   = 64 << 20         // bytes of one list; the largest public ones have some 10 MB
)

// Checker looks certificates up in the lists that it was given, and else in those that the certificates
// name. A list is fetched once. It may be used from several goroutines.
type Checker struct {
	given  []*x509.RevocationList
	client *http.Client

	mu      sync.Mutex
	fetched map[string]*answer // by address
}

type answer struct {
	list *x509.RevocationList
	err  error
}

// New reads the lists in files: DER, or PEM with any number of them in one file.
func New(files []string) (*Checker, error) {
	c := &Checker{client: &http.Client{Timeout: fetchLimit}, fetched: map[string]*answer{}}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		lists, err := parse(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		c.given = append(c.given, lists...)
	}
	return c, nil
}

func parse(data []byte) ([]*x509.RevocationList, error) {
	var lists []*x509.RevocationList
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading a revocation list: %w", err)
		}
		lists = append(lists, list)
	}
	if len(lists) > 0 {
		return lists, nil
	}
	list, err := x509.ParseRevocationList(data)
	if err != nil {
		return nil, fmt.Errorf("reading a revocation list: %w", err)
	}
	return []*x509.RevocationList{list}, nil
}

// Check wants a current list of its issuer for each certificate of a chain, and the certificate not in it.
// The chain is leaf first; the last one is trusted and not looked up.
func (c *Checker) Check(ctx context.Context, chain []*x509.Certificate) error {
	for i := range len(chain) - 1 {
		if err := c.check(ctx, chain[i], chain[i+1]); err != nil {
			return fmt.Errorf("revocation of %q: %w", chain[i].Subject, err)
		}
	}
	return nil
}

var errNoList = errors.New("the certificate names no revocation list (http); --crl FILE names one")

func (c *Checker) check(ctx context.Context, certificate, issuer *x509.Certificate) error {
	problem := errNoList
	for _, list := range c.given {
		if !bytes.Equal(list.RawIssuer, certificate.RawIssuer) {
			continue
		}
		if problem = judge(list, certificate, issuer); problem == nil || isRevoked(problem) {
			return problem
		}
	}
	for _, address := range certificate.CRLDistributionPoints {
		if u, err := url.Parse(address); err != nil || u.Scheme != "http" && u.Scheme != "https" {
			continue
		}
		list, err := c.fetch(ctx, address)
		if err != nil {
			problem = fmt.Errorf("%w; --crl FILE names a list that was downloaded before", err)
			continue
		}
		if problem = judge(list, certificate, issuer); problem == nil || isRevoked(problem) {
			return problem
		}
	}
	return problem
}

// fetch downloads a list once, however often it is asked for.
func (c *Checker) fetch(ctx context.Context, address string) (*x509.RevocationList, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.fetched[address]
	if known == nil {
		list, err := c.download(ctx, address)
		if err != nil {
			err = fmt.Errorf("fetching the revocation list: %w", err)
		}
		known = &answer{list, err}
		if ctx.Err() == nil {
			c.fetched[address] = known
		}
	}
	return known.list, known.err
}

func (c *Checker) download(ctx context.Context, address string) (*x509.RevocationList, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", address, response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, mostList+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", address, err)
	case len(data) > mostList:
		return nil, fmt.Errorf("%s is longer than %d MB", address, mostList>>20)
	}
	lists, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	return lists[0], nil
}

// RevokedError is the error for a certificate that a list names.
type RevokedError struct{ Since time.Time }

func (e *RevokedError) Error() string {
	return "it was revoked on " + e.Since.UTC().Format(time.DateOnly)
}

func isRevoked(err error) bool {
	_, revoked := errors.AsType[*RevokedError](err)
	return revoked
}

// judge looks a certificate up in a list, which must be its issuer's, current, and for all of its certificates and reasons.
func judge(list *x509.RevocationList, certificate, issuer *x509.Certificate) error {
	now := time.Now()
	if err := list.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("the list is not the issuer's: %w", err)
	}
	switch {
	case !bytes.Equal(list.RawIssuer, certificate.RawIssuer):
		return errors.New("the list is another issuer's")
	case list.NextUpdate.IsZero() || now.After(list.NextUpdate):
		return fmt.Errorf("the list has ended on %s; --crl FILE names a newer one", list.NextUpdate.UTC().Format(time.DateOnly))
	case now.Before(list.ThisUpdate):
		return fmt.Errorf("the list is of a later day, %s: check the clock", list.ThisUpdate.UTC().Format(time.DateOnly))
	}
	for _, extension := range list.Extensions {
		if !extension.Critical {
			continue
		}
		if !extension.Id.Equal(oidIssuingDistributionPoint) {
			return fmt.Errorf("the list has an extension that is not known here (%s), as a list of changes has", extension.Id)
		}
		if err := covers(extension.Value, certificate); err != nil {
			return err
		}
	}
	i := slices.IndexFunc(list.RevokedCertificateEntries, func(e x509.RevocationListEntry) bool {
		return e.SerialNumber.Cmp(certificate.SerialNumber) == 0
	})
	if i >= 0 {
		return &RevokedError{list.RevokedCertificateEntries[i].RevocationTime}
	}
	return nil
}

var oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}

// covers reads IssuingDistributionPoint (RFC 5280, section 5.2.5), which narrows a list.
func covers(value []byte, certificate *x509.Certificate) error {
	var point struct {
		Name            asn1.RawValue `asn1:"optional,tag:0"`
		UsersOnly       bool          `asn1:"optional,tag:1"`
		AuthoritiesOnly bool          `asn1:"optional,tag:2"`
		SomeReasons     asn1.RawValue `asn1:"optional,tag:3"`
		Indirect        bool          `asn1:"optional,tag:4"`
		AttributesOnly  bool          `asn1:"optional,tag:5"`
	}
	if rest, err := asn1.Unmarshal(value, &point); err != nil || len(rest) > 0 {
		return errors.New("what the list is for cannot be read")
	}
	if point.UsersOnly && certificate.IsCA || point.AuthoritiesOnly && !certificate.IsCA || point.AttributesOnly ||
		point.Indirect || len(point.SomeReasons.FullBytes) > 0 {
		return errors.New("the list is not for all of the issuer's certificates")
	}
	return nil
}
