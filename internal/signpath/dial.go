package signpath

import (
	"context"
	"crypto/tls"
	"net"
	"net/http/httptrace"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// preparedLife is how long a connection without a request is trusted: servers give a new
// connection 10 to 130 s until its first request.
const preparedLife = 25 * time.Second

// dialer opens the connections of one client. It lets one request go ahead while there is
// no connection, so that requests which start together share one where HTTP/2 allows it.
type dialer struct {
	address string      // host:port of the API
	tls     *tls.Config // nil: plain HTTP, or TLS is the transport's task (in a proxy's tunnel)
	trust   *trust      // nil: plain HTTP
	timeout time.Duration
	idle    func() // what can be done while the first connection waits for its first answer; may be nil

	mu       sync.Mutex
	prepared *preparedConn
	live     int           // open connections that the transport was given
	opening  chan struct{} // closed when the request that goes ahead has its connection
}

// preparedConn is a connection being opened; conn and err are set when done is closed.
type preparedConn struct {
	done chan struct{}
	conn net.Conn
	err  error
	born time.Time
	stop context.CancelFunc
}

// Prepare begins to open a connection (TCP and TLS, no request) in the background, for the
// first request to use. Its failure is not reported: the request then dials itself. Behind
// a proxy it does nothing. The end of ctx ends the opening, not an open connection.
func (c *Client) Prepare(ctx context.Context) {
	if c.proxy == nil {
		c.dialer.prepare(ctx)
	}
}

func (d *dialer) prepare(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.prepared != nil || d.live > 0 {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	p := &preparedConn{done: make(chan struct{}), stop: stop}
	d.prepared = p
	go func() {
		defer close(p.done)
		defer stop()
		p.conn, p.err = d.open(ctx, "tcp", d.address)
		p.born = time.Now()
	}()
}

// connect is the transport's dial function: the prepared connection, or a new one.
func (d *dialer) connect(ctx context.Context, network, address string) (net.Conn, error) {
	if conn := d.takePrepared(ctx, address); conn != nil {
		return conn, nil
	}
	return d.open(ctx, network, address)
}

// takePrepared waits for the prepared connection and returns it once; nil if there is none
// or the server has closed it in the meantime.
func (d *dialer) takePrepared(ctx context.Context, address string) net.Conn {
	d.mu.Lock()
	p := d.prepared
	d.prepared = nil
	d.mu.Unlock()
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.discard()
		return nil
	}
	if p.err != nil {
		return nil
	}
	if address != d.address || time.Since(p.born) > preparedLife || !established(p.conn) {
		p.conn.Close()
		return nil
	}
	return p.conn
}

func (p *preparedConn) discard() {
	p.stop()
	go func() {
		<-p.done
		if p.conn != nil {
			p.conn.Close()
		}
	}()
}

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.prepared != nil {
		d.prepared.discard()
		d.prepared = nil
	}
}

// open dials and, if the dialer has a TLS configuration, does the handshake.
func (d *dialer) open(ctx context.Context, network, address string) (net.Conn, error) {
	if d.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	conn, err := d.dial(ctx, network, address)
	if err != nil || d.tls == nil {
		return conn, err
	}
	secure := tls.Client(conn, d.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// dial is the one place where a socket is opened.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.trust != nil {
		d.trust.readAhead() // while the other side is slow to answer
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	d.live++
	d.mu.Unlock()
	return &countedConn{Conn: conn, d: d}, nil
}

// countedConn tells the dialer when it is closed, and when it waits for the first time.
type countedConn struct {
	net.Conn
	d    *dialer
	once sync.Once
	read bool // used by the one goroutine that reads
}

func (c *countedConn) Read(p []byte) (int, error) {
	if !c.read && c.d.idle != nil {
		c.d.idle()
	}
	c.read = true
	return c.Conn.Read(p)
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.d.mu.Lock()
		c.d.live--
		c.d.mu.Unlock()
	})
	return err
}

// established asks the kernel, because reading would disturb TLS: a connection that the
// other side closed is in another state, whatever data still waits in it.
func established(conn net.Conn) bool {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if counted, ok := conn.(*countedConn); ok {
		conn = counted.Conn
	}
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		alive = err == nil && info.State == unix.BPF_TCP_ESTABLISHED
	})
	return err == nil && alive
}

// turn returns when this request may go ahead: at once if there is a connection or nobody is
// opening one, else when the one that is being opened can be used. The caller calls
// connected in the end; the returned context does so as soon as the connection carries it.
func (d *dialer) turn(ctx context.Context) (_ context.Context, connected func(), err error) {
	for {
		d.mu.Lock()
		wait := d.opening
		if wait == nil {
			if d.live > 0 && d.prepared == nil {
				d.mu.Unlock()
				return ctx, func() {}, nil
			}
			connected = d.goAhead()
			d.mu.Unlock()
			return traceFirst(ctx, connected), connected, nil
		}
		d.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
		}
	}
}

// goAhead marks that a connection is being opened until the returned function is called.
func (d *dialer) goAhead() func() {
	opening := make(chan struct{})
	d.opening = opening
	return sync.OnceFunc(func() {
		d.mu.Lock()
		d.opening = nil
		d.mu.Unlock()
		close(opening)
	})
}

// traceFirst waits for the written headers, not for the connection itself: only then is an
// HTTP/2 connection in the transport's pool for others to find.
func traceFirst(ctx context.Context, connected func()) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: connected})
}
