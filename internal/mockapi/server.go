package mockapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"
)

// Options say where and with what to start.
type Options struct {
	Listen    string   // ADDRESS:PORT; port 0 takes a free one; default 127.0.0.1:0
	Hosts     []string // names in the server certificate; the first is in the URL
	StateDir  string   // keys, certificates, env, ca.pem, signing-root.pem, audit.jsonl; made if missing
	Config    *Config  // nil is the built-in configuration
	PlainHTTP bool     // no TLS; only on loopback
	Log       io.Writer

	// CertificateEnd is when the server certificate expires, for tests of clients; zero is in a year.
	CertificateEnd time.Time
}

// Server is a running service.
type Server struct {
	cfg      *Config
	state    *stateDir
	orgs     []*organization
	tokens   []string // of the first organization's users
	ca       *authority
	tsa      *timeStampAuthority
	base     string // scheme://host:port
	log      *log.Logger
	queue    queue
	requests requestLog
	faults   faultList
	audit    *auditLog
	fresh    freshConns

	http     *http.Server
	served   chan struct{} // closed when the accept loop has ended
	stopping context.Context
	stop     context.CancelFunc
}

// Start brings the service up. When it returns, requests are answered and the
// files in the state folder are written. The caller must Close it.
func Start(o Options) (*Server, error) {
	s, err := newServer(o)
	if err != nil {
		return nil, err
	}
	ln, err := listen(o)
	if err != nil {
		return nil, err
	}
	if err := s.prepare(o, ln); err != nil {
		ln.Close()
		return nil, err
	}
	return s, nil
}

func newServer(o Options) (*Server, error) {
	s := &Server{cfg: o.Config, served: make(chan struct{}), queue: queue{requests: map[string]*signingRequest{}}}
	if s.cfg == nil {
		s.cfg = DefaultConfig()
	}
	if err := s.cfg.check(); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	w := o.Log
	if w == nil {
		w = io.Discard
	}
	s.log = log.New(w, "", log.LstdFlags|log.LUTC)
	s.stopping, s.stop = context.WithCancel(context.Background())
	var err error
	if s.state, err = openState(o.StateDir); err != nil {
		return nil, err
	}
	length := s.cfg.ChainLength
	if length == 0 {
		length = 3
	}
	if s.ca, err = newAuthority(s.state, length); err != nil {
		return nil, err
	}
	s.tsa = &timeStampAuthority{state: s.state, ca: s.ca}
	s.orgs, s.tokens, err = seed(s.cfg, s.state, s.ca)
	return s, err
}

func listen(o Options) (net.Listener, error) {
	address := o.Listen
	if address == "" {
		address = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening (--listen %s): %w", address, err)
	}
	if ip := ln.Addr().(*net.TCPAddr).IP; o.PlainHTTP && !ip.IsLoopback() {
		ln.Close()
		return nil, fmt.Errorf("listening on %s: plain HTTP is for loopback addresses only (drop --plain-http or change --listen)", ip)
	}
	return ln, nil
}

// prepare does what needs the port to be known, and begins to serve.
func (s *Server) prepare(o Options, ln net.Listener) error {
	address := ln.Addr().(*net.TCPAddr)
	host := publicHost(o.Hosts, address.IP)
	s.base = "https://" + net.JoinHostPort(host, fmt.Sprint(address.Port))
	var caPEM []byte
	if o.PlainHTTP {
		s.base = strings.Replace(s.base, "https", "http", 1)
	} else {
		config, pem, err := serverTLS(s.state, append([]string{host}, o.Hosts...), o.CertificateEnd)
		if err != nil {
			return fmt.Errorf("making the server certificate: %w", err)
		}
		ln, caPEM = tls.NewListener(ln, config), pem
	}
	if err := s.writeFiles(caPEM, address); err != nil {
		return err
	}
	var err error
	if s.audit, err = openAudit(s.state.file("audit.jsonl")); err != nil {
		return err
	}
	s.serveOn(ln)
	return nil
}

// publicHost is the host of the URLs: the first name given, or else the address itself.
func publicHost(hosts []string, ip net.IP) string {
	if len(hosts) > 0 {
		return hosts[0]
	}
	if ip.IsUnspecified() {
		return "localhost"
	}
	return ip.String()
}

func (s *Server) serveOn(ln net.Listener) {
	record := s.requests.record(s.serve, func(r Request) { s.log.Printf("%s %s %d", r.Method, r.Path, r.Status) })
	s.http = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, adminPrefix) {
				s.admin(w, r)
				return
			}
			record(w, r)
		}),
		ConnContext:       s.requests.number,
		ConnState:         s.fresh.track,
		ErrorLog:          s.log,
		ReadHeaderTimeout: 30 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	s.log.Printf("mock signing service on %s: for development only, its admin side %s needs no token", s.base, adminPrefix)
	go func() {
		defer close(s.served)
		if err := s.http.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			s.log.Printf("serving: %v", err)
		}
	}()
}

// Close stops the service: hanging requests end at once, others may finish
// until ctx ends. The state folder stays.
func (s *Server) Close(ctx context.Context) error {
	s.stop()
	s.fresh.closeAll()
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
	}
	<-s.served
	return errors.Join(err, s.audit.Close())
}
