package integration

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// relay stands between tools and a mock service and counts what goes through: connections and requests, independently of
// the service's own list. It ends TLS on both sides, and passes every byte in between, so that faults reach the tools.
type relay struct {
	identity *identity
	upstream string // host:port of the service
	client   *tls.Config

	mu          sync.Mutex
	address     string // host:port, the same for the whole life
	listener    net.Listener
	open        map[net.Conn]bool
	connections int
	requests    int
}

// identity is the relays' certificate and the authority that tools trust.
type identity struct {
	certificate tls.Certificate
	ca          []byte // PEM
}

func newIdentity(hosts ...net.IP) (*identity, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Authority of the tests' relays"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Relay"}, IPAddresses: hosts,
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	return &identity{
		certificate: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		ca:          pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}),
	}, nil
}

// startRelay listens on a free port of the host, which containers reach under that address.
func startRelay(id *identity, host, upstream string, client *tls.Config) (*relay, error) {
	r := &relay{identity: id, upstream: upstream, client: client, address: net.JoinHostPort(host, "0"), open: map[net.Conn]bool{}}
	return r, r.up()
}

// up begins to listen; after down, on the same port.
func (r *relay) up() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	listener, err := net.Listen("tcp", r.address)
	if err != nil {
		return fmt.Errorf("listening for tools in containers: %w", err)
	}
	r.listener, r.address = listener, listener.Addr().String()
	go r.accept(listener)
	return nil
}

// down refuses connections and breaks the open ones off.
func (r *relay) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listener.Close()
	for conn := range r.open {
		abort(conn)
	}
}

func (r *relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connections, r.requests = 0, 0
}

func (r *relay) counts() (connections, requests int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connections, r.requests
}

func (r *relay) accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		r.mu.Lock()
		r.connections++
		r.open[conn] = true
		r.mu.Unlock()
		go func() {
			r.serve(conn)
			conn.Close()
			r.mu.Lock()
			delete(r.open, conn)
			r.mu.Unlock()
		}()
	}
}

func (r *relay) serve(conn net.Conn) {
	inside := tls.Server(conn, &tls.Config{
		Certificates: []tls.Certificate{r.identity.certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	})
	if err := inside.Handshake(); err != nil {
		return
	}
	protocol := inside.ConnectionState().NegotiatedProtocol
	config := r.client.Clone()
	if protocol != "" {
		config.NextProtos = []string{protocol}
	}
	outside, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", r.upstream, config)
	if err != nil {
		abort(conn)
		return
	}
	defer outside.Close()

	counted, toCount := io.Pipe()
	go func() {
		r.count(counted, protocol)
		_, _ = io.Copy(io.Discard, counted)
	}()
	go func() {
		_, _ = io.Copy(io.MultiWriter(outside, toCount), inside)
		toCount.Close()
		outside.Close()
	}()
	if _, err := io.Copy(inside, outside); err != nil && !errors.Is(err, net.ErrClosed) {
		abort(conn) // the service broke off: the tool shall see the same
		return
	}
	_ = inside.CloseWrite()
}

// count reads what a client sends until it ends or makes no sense.
func (r *relay) count(stream io.Reader, protocol string) {
	in := bufio.NewReader(stream)
	next := nextHTTP1
	if protocol == "h2" {
		if _, err := in.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
			return
		}
		next = nextHTTP2
	}
	for {
		begins, err := next(in)
		if err != nil {
			return
		}
		if begins {
			r.mu.Lock()
			r.requests++
			r.mu.Unlock()
		}
	}
}

func nextHTTP1(in *bufio.Reader) (bool, error) {
	request, err := http.ReadRequest(in)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(io.Discard, request.Body)
	return true, err
}

// nextHTTP2 skips one frame (RFC 9113, section 4.1). A HEADERS frame begins a request.
func nextHTTP2(in *bufio.Reader) (bool, error) {
	header := make([]byte, 9)
	if _, err := io.ReadFull(in, header); err != nil {
		return false, err
	}
	length := binary.BigEndian.Uint32(header) >> 8
	_, err := in.Discard(int(length))
	return header[3] == 1, err
}

// abort closes a connection with a reset instead of an orderly end.
func abort(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

func (id *identity) write(file string) error { return os.WriteFile(file, id.ca, 0o644) }
