package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"signkit/internal/event"
	"signkit/internal/key"
	"signkit/internal/signpath"
	"signkit/internal/version"
)

const (
	maxRequest = 64 << 10 // bytes of a request's body; a digest and who asks are far less
	maxHeaders = 16 << 10
	idleTime   = 2 * time.Minute // of a connection; clients give theirs up before
)

// serveREST answers in the service's words: policies, certificates and signatures of the keys that may be
// used, and nothing else. Nothing of a request is passed on but the name of a key and a digest.
func (a *Agent) serveREST(ctx context.Context, listener *net.UnixListener) error {
	connections := &handover{conns: make(chan net.Conn), done: make(chan struct{}), address: listener.Addr()}
	server := &http.Server{
		Handler: a.routes(), ReadHeaderTimeout: a.o.Patience, IdleTimeout: idleTime, MaxHeaderBytes: maxHeaders,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return a.withCaller(ctx, conn.(*servedConn).pid)
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(connections) }()
	err := a.accept(ctx, listener, func(conn *net.UnixConn, pid int) {
		served := &servedConn{UnixConn: conn, pid: pid, closed: make(chan struct{})}
		select {
		case connections.conns <- served:
			<-served.closed
		case <-ctx.Done():
		}
	})
	_ = server.Close()
	if serveErr := <-ended; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

func (a *Agent) routes() http.Handler {
	routes := http.NewServeMux()
	handle := func(pattern string, answer func(*http.Request) ([]byte, error)) {
		routes.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			a.alive()
			err := a.receive(w, r)
			var body []byte
			if err == nil {
				body, err = answer(r)
			}
			if err != nil {
				a.fail(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(body)
		})
	}
	const root = "/v1/{organization}"
	const certificate = root + "/Projects/{project}/SigningPolicies/{policy}/Certificate"
	handle("GET "+root+"/Cryptoki/MySigningPolicies", a.policies)
	handle("GET "+root+"/Certificates", a.certificates)
	handle("GET "+certificate+"/X509Certificate", a.certificate)
	handle("GET "+certificate+"/GpgPublicKey", a.gpgKey)
	handle("POST "+root+"/SigningRequests/SignHash", a.signHash)
	handle("GET /agent", func(r *http.Request) ([]byte, error) { return json.Marshal(a.Status(r.Context())) })
	routes.HandleFunc("GET /healthz", a.health)
	routes.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, &refusal{fmt.Errorf("the agent signs, and does nothing else of what the service can do")})
	})
	return routes
}

// receive reads the body of a request, for which nobody else must wait: what follows is bounded by the service's limits alone.
func (a *Agent) receive(w http.ResponseWriter, r *http.Request) error {
	connection := http.NewResponseController(w)
	if err := connection.SetReadDeadline(time.Now().Add(a.o.Patience)); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return &refusal{fmt.Errorf("reading the request: %w", err)}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return connection.SetReadDeadline(time.Time{})
}

// refusal is an answer of the agent's own.
type refusal struct{ err error }

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func (a *Agent) fail(w http.ResponseWriter, err error) {
	status, body := signpath.ProblemDocument(err)
	var own *refusal
	if errors.As(err, &own) || errors.Is(err, ErrBudget) {
		status = http.StatusForbidden
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// health is what the service says of its health, and of the time.
func (a *Agent) health(w http.ResponseWriter, r *http.Request) {
	h, err := a.o.Client.Health(r.Context())
	if err != nil {
		a.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Date", a.o.Now().Add(-h.Ahead).UTC().Format(http.TimeFormat))
	w.WriteHeader(h.Status)
	_, _ = io.WriteString(w, h.Text)
}

func (a *Agent) policies(r *http.Request) ([]byte, error) {
	query := r.URL.Query()
	keys, err := a.keys.list(r.Context(), query.Get("projectSlug"), query.Get("signingPolicySlug"))
	if err != nil {
		return nil, err
	}
	return signpath.PolicyDocument(plain(keys))
}

func (a *Agent) certificates(r *http.Request) ([]byte, error) {
	keys, err := a.keys.list(r.Context(), "", "")
	if err != nil {
		return nil, err
	}
	return signpath.CertificateDocument(r.Context(), plain(keys))
}

func plain(keys []*Key) []*signpath.Key {
	list := make([]*signpath.Key, len(keys))
	for i, key := range keys {
		list[i] = key.Key
	}
	return list
}

// named is the one key that a call is about.
func (a *Agent) named(ctx context.Context, project, policy string) (*Key, error) {
	if project == "" || policy == "" {
		return nil, &refusal{errors.New("no key is named")}
	}
	keys, err := a.keys.list(ctx, project, policy)
	if err != nil {
		return nil, err
	}
	if len(keys) != 1 {
		return nil, &refusal{fmt.Errorf("the agent has no key %q", project+"/"+policy)}
	}
	return keys[0], nil
}

func (a *Agent) certificate(r *http.Request) ([]byte, error) {
	key, err := a.named(r.Context(), r.PathValue("project"), r.PathValue("policy"))
	if err != nil {
		return nil, err
	}
	return key.certificate.get(r.Context(), func(ctx context.Context) ([]byte, error) {
		certificate, err := a.o.Client.Certificate(ctx, key.ProjectSlug(), key.PolicySlug())
		if err != nil {
			return nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}), nil
	})
}

func (a *Agent) gpgKey(r *http.Request) ([]byte, error) {
	key, err := a.named(r.Context(), r.PathValue("project"), r.PathValue("policy"))
	if err != nil {
		return nil, err
	}
	return key.gpg.get(r.Context(), func(ctx context.Context) ([]byte, error) {
		return a.o.Client.GPGPublicKey(ctx, key.ProjectSlug(), key.PolicySlug())
	})
}

func (a *Agent) signHash(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	call, err := signpath.ReadSignCall(body)
	if err != nil {
		return nil, &refusal{err}
	}
	k, err := a.named(r.Context(), call.Project, call.Policy)
	if err != nil {
		a.recordRefusal(r.Context(), call, err)
		return nil, err
	}
	signed, err := a.sign(r.Context(), k, call.Digest, call.Options)
	if k.Stale() {
		a.keys.forget(k.ID())
	}
	if err != nil {
		return nil, err
	}
	return call.Answer(signed)
}

// recordRefusal records that a key cannot be used; with one that can, sign records.
func (a *Agent) recordRefusal(ctx context.Context, call *signpath.SignCall, err error) {
	record := a.recorder(ctx)
	if record == nil {
		return
	}
	e := event.Begin(call.Project+"/"+call.Policy, call.Digest, a.o.Now())
	e.Caller = event.CallerIn(ctx)
	e.Fail(err)
	if _, own := errors.AsType[*refusal](err); own {
		e.Kind = key.NoSuchPolicy
	}
	record(e)
}

// Status is what an agent says of itself.
type Status struct {
	Version     string   `json:"version"`
	PID         int      `json:"pid"`
	Keys        []string `json:"keys"`
	KeysError   string   `json:"keysError,omitempty"` // why they are not known
	Connections int64    `json:"connections"`
	Totals
	MaxSignatures int     `json:"maxSignatures,omitempty"` // 0: no bound
	Seconds       float64 `json:"secondsInService"`
}

// statusTime bounds the wait for keys that were not read yet.
const statusTime = 10 * time.Second

// Status asks the service only where the keys are not known yet.
func (a *Agent) Status(ctx context.Context) Status {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	totals := a.Totals()
	s := Status{Version: version.Version, PID: os.Getpid(), Keys: []string{}, Connections: a.connections.Load(),
		Totals: totals, MaxSignatures: a.o.MaxSignatures, Seconds: totals.Service.Seconds()}
	keys, err := a.Keys(ctx)
	if err != nil {
		s.KeysError = err.Error()
	}
	for _, key := range keys {
		s.Keys = append(s.Keys, key.ID())
	}
	return s
}

// handover is the listener of an http.Server whose connections others accept.
type handover struct {
	conns   chan net.Conn
	done    chan struct{}
	address net.Addr
}

func (h *handover) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handover) Close() error {
	select {
	case <-h.done:
	default:
		close(h.done)
	}
	return nil
}

func (h *handover) Addr() net.Addr { return h.address }

// servedConn tells when it is closed.
type servedConn struct {
	*net.UnixConn
	pid    int
	once   sync.Once
	closed chan struct{}
}

func (c *servedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.UnixConn.Close()
}
