package artifact

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Authorities are time-stamp authorities (RFC 3161), asked one after the other until one gives a time-stamp. Tools are given
// the address of a relay to them (serve). So a tool is called once and signs once, whatever an authority does: what a tool
// prints when it has no time-stamp differs from version to version, and never decides whether the key signs again.
//
// A time-stamp is judged by the tool that asked for it and by whoever verifies the file, not here.
type Authorities struct {
	// Warn is told of an authority that failed where another one gave the time-stamp. It may be nil, and is called from
	// several goroutines.
	Warn func(error)

	client *http.Client
	limit  time.Duration // for the answer of one authority
	pause  time.Duration // before those that may answer later are asked again; the next one is twice as long

	mu   sync.Mutex
	urls []string // those that failed are asked last
}

const (
	stampLimit    = 30 * time.Second
	stampPause    = time.Second
	stampRounds   = 4                // how often an authority that is busy or out of order is asked
	maxStampPause = 30 * time.Second // whatever Retry-After says
	maxStamp      = 1 << 20
)

// NewAuthorities returns those with the addresses urls, in the order in which they are to be asked; nil if there are none. The
// roots in caFile (PEM), if it is named, are trusted for their TLS besides the system's.
func NewAuthorities(urls []string, caFile string) (*Authorities, error) {
	if len(urls) == 0 {
		return nil, nil
	}
	for _, text := range urls {
		if u, err := url.Parse(text); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%q is not the address of a time-stamp authority, which begins with http:// or https://", redacted(text))
		}
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if caFile != "" {
		data, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("SIGNKIT_CA_FILE: %w", err)
		}
		roots.AppendCertsFromPEM(data)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
	}
	return &Authorities{
		client: &http.Client{Transport: transport}, limit: stampLimit, pause: stampPause, urls: slices.Clone(urls),
	}, nil
}

// First asks for a time-stamp of nothing in particular and returns the address of the authority that gave it: for tools that
// ask one authority, after they have signed.
func (a *Authorities) First(ctx context.Context) (string, error) {
	query, err := stampQuery()
	if err != nil {
		return "", err
	}
	_, from, err := a.stamp(ctx, query)
	return from, err
}

// stampQuery is a TimeStampReq for 32 octets that mean nothing (RFC 3161, section 2.4.1).
func stampQuery() ([]byte, error) {
	digest, nonce := make([]byte, 32), make([]byte, 8)
	rand.Read(digest)
	rand.Read(nonce)
	type imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	sha256 := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, Parameters: asn1.NullRawValue}
	return asn1.Marshal(struct {
		Version      int
		Imprint      imprint
		Nonce        *big.Int
		Certificates bool
	}{1, imprint{sha256, digest}, new(big.Int).SetBytes(nonce), true})
}

// stamp passes a query on until an authority gives a time-stamp, and says which one it was. Those that are busy or out of order
// are asked again after all have failed.
func (a *Authorities) stamp(ctx context.Context, query []byte) (reply []byte, from string, err error) {
	candidates := a.order()
	failures := map[string]error{}
	pause := a.pause
	for round := 1; ; round++ {
		var again []string
		wait := pause
		for _, authority := range candidates {
			reply, failure := a.ask(ctx, authority, query)
			if failure == nil {
				a.warn(authority, failures)
				return reply, authority, nil
			}
			a.demote(authority)
			failures[authority] = fmt.Errorf("%s: %w", redacted(authority), failure.err)
			if failure.temporary {
				again, wait = append(again, authority), max(wait, min(failure.retryAfter, maxStampPause))
			}
		}
		if len(again) == 0 || round == stampRounds || ctx.Err() != nil {
			break
		}
		candidates, pause = again, 2*pause
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	var all []string
	for _, authority := range slices.Sorted(slices.Values(a.order())) {
		if failure := failures[authority]; failure != nil {
			all = append(all, failure.Error())
		}
	}
	return nil, "", fmt.Errorf("no time-stamp authority gave a time-stamp: %s", strings.Join(all, "; "))
}

func (a *Authorities) warn(used string, failures map[string]error) {
	for authority, failure := range failures {
		if authority != used && a.Warn != nil {
			a.Warn(fmt.Errorf("the time-stamp is of %s: %w", redacted(used), failure))
		}
	}
}

func (a *Authorities) order() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.urls)
}

// demote puts an authority at the end: many files must not wait for one that does not answer.
func (a *Authorities) demote(authority string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if i := slices.Index(a.urls, authority); i >= 0 {
		a.urls = append(slices.Delete(a.urls, i, i+1), authority)
	}
}

// stampFailure is why one authority gave no time-stamp.
type stampFailure struct {
	err        error
	temporary  bool
	retryAfter time.Duration
}

// ask sends one query to one authority.
func (a *Authorities) ask(ctx context.Context, authority string, query []byte) ([]byte, *stampFailure) {
	limited, cancel := context.WithTimeoutCause(ctx, a.limit, fmt.Errorf("no answer within %s", a.limit))
	defer cancel()
	request, err := http.NewRequestWithContext(limited, http.MethodPost, authority, bytes.NewReader(query))
	if err != nil {
		return nil, &stampFailure{err: err}
	}
	request.Header.Set("Content-Type", "application/timestamp-query")
	response, err := a.client.Do(request)
	if err != nil {
		return nil, networkFailure(limited, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		seconds, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return nil, &stampFailure{
			err: errors.New(response.Status), retryAfter: time.Duration(seconds) * time.Second,
			temporary: response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500,
		}
	}
	reply, err := io.ReadAll(io.LimitReader(response.Body, maxStamp))
	if err != nil {
		return nil, networkFailure(limited, err)
	}
	if err := granted(reply); err != nil {
		return nil, &stampFailure{err: err}
	}
	return reply, nil
}

// networkFailure: an authority that lets us wait till the end is not asked again, any other failure may have been an accident.
func networkFailure(ctx context.Context, err error) *stampFailure {
	if ctx.Err() != nil {
		return &stampFailure{err: context.Cause(ctx)}
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err // the address is named already
	}
	return &stampFailure{err: err, temporary: true}
}

// granted reports as an error that an answer holds no time-stamp (RFC 3161, section 2.4.2).
func granted(reply []byte) error {
	var response struct {
		Info  asn1.RawValue
		Token asn1.RawValue `asn1:"optional"`
	}
	var status int
	if _, err := asn1.Unmarshal(reply, &response); err != nil {
		return errors.New("its answer is not a time-stamp")
	}
	if _, err := asn1.Unmarshal(response.Info.Bytes, &status); err != nil {
		return errors.New("its answer is not a time-stamp")
	}
	if status > 1 || len(response.Token.FullBytes) == 0 { // 0: granted, 1: granted with modifications
		return fmt.Errorf("it refused the query with status %d", status)
	}
	return nil
}

// redacted is an address without a password.
func redacted(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(not a URL)"
	}
	return u.Redacted()
}

// stampRelay is an authority on the loopback interface that passes queries on to the others.
type stampRelay struct {
	url    string
	server *http.Server
	ended  chan struct{}

	mu      sync.Mutex
	failure error // of the last query
}

// serve starts a relay. The caller must close it.
func (a *Authorities) serve(ctx context.Context) (*stampRelay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for time-stamp queries: %w", err)
	}
	path := "/" + rand.Text() // others on this machine shall not ask in our name
	r := &stampRelay{url: "http://" + listener.Addr().String() + path, ended: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, request *http.Request) {
		query, err := io.ReadAll(http.MaxBytesReader(w, request.Body, maxStamp))
		if err != nil {
			return
		}
		reply, _, err := a.stamp(request.Context(), query)
		r.mu.Lock()
		r.failure = err
		r.mu.Unlock()
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/timestamp-reply")
		_, _ = w.Write(reply)
	})
	r.server = &http.Server{Handler: mux, BaseContext: func(net.Listener) context.Context { return ctx }, ReadHeaderTimeout: stampLimit}
	go func() {
		defer close(r.ended)
		_ = r.server.Serve(listener)
	}()
	return r, nil
}

func (r *stampRelay) close() {
	_ = r.server.Close()
	<-r.ended
}

func (r *stampRelay) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

// stamped calls sign, which runs a tool with an environment and with the address of a time-stamp authority, empty if no
// time-stamp is wanted.
func (s *Signer) stamped(ctx context.Context, sign func(environ []string, authority string) error) error {
	if s.X509.Authorities == nil {
		return sign(s.moduleEnvironment(), "")
	}
	relay, err := s.X509.Authorities.serve(ctx)
	if err != nil {
		return err
	}
	defer relay.close()
	err = sign(withoutProxy(s.moduleEnvironment()), relay.url)
	if failure := relay.failed(); err != nil && failure != nil {
		return fmt.Errorf("%w (SIGNKIT_TSA_URL)", failure)
	}
	return err
}

// withoutProxy keeps tools from asking a proxy for the relay.
func withoutProxy(environ []string) []string {
	for _, name := range []string{"no_proxy", "NO_PROXY"} {
		value := "127.0.0.1"
		for _, entry := range environ {
			if old, ok := strings.CutPrefix(entry, name+"="); ok && old != "" {
				value = old + "," + value
				break
			}
		}
		environ = append(environ, name+"="+value)
	}
	return environ
}
