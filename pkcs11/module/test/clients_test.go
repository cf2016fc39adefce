package moduletest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"signkit/internal/config"
	"signkit/internal/signpath"
)

// complaint is what a JVM with -Xcheck:jni says about a library that changes
// signal handlers, or of its own end. (The module makes no JNI calls, so other
// warnings are about SunPKCS11.)
var complaint = regexp.MustCompile(`(?i:handler|fatal error|hs_err|core dump)|SIG[A-Z]{3,}`)

// TestJava signs through SunPKCS11 in many threads of a JVM that checks native code.
func TestJava(t *testing.T) {
	java := need(t, "java")
	t.Parallel()
	got := shared.run(t, host{args: []string{java, "-Xcheck:jni", "-Xss512k", "-Djava.io.tmpdir=" + t.TempDir(), "testdata/Sign.java",
		shared.variant[0].module, "demo/rsa-2048", "demo/p-256"}})
	if got.code != 0 {
		t.Fatalf("ended with %d: %s", got.code, got.stderr)
	}
	count := map[string]int{}
	digest := sha256.Sum256([]byte("hello"))
	for line := range strings.Lines(got.stdout) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "signature" {
			got.stderr += line // the JVM warns on either stream
			continue
		}
		signature, err := hex.DecodeString(fields[2])
		if err != nil {
			t.Fatal(err)
		}
		ok := false
		switch k := shared.keys[fields[1]].(type) {
		case *rsa.PublicKey:
			ok = valid(k, digest[:], signature)
		case *ecdsa.PublicKey:
			ok = ecdsa.VerifyASN1(k, digest[:], signature)
		}
		if !ok {
			t.Errorf("a signature of %s does not verify", fields[1])
		}
		count[fields[1]]++
	}
	if found := complaint.FindString(got.stderr); found != "" {
		t.Errorf("the JVM complains about %s:\n%s", found, got.stderr)
	}
	if count["demo/rsa-2048"] != 21 || count["demo/p-256"] != 20 {
		t.Errorf("signatures: %v", count)
	}
}

// TestNSS: NSS lists the token, its certificates and keys, and serves TLS with them.
func TestNSS(t *testing.T) {
	modutil, certutil, selfserv := need(t, "modutil"), need(t, "certutil"), need(t, "selfserv")
	t.Parallel()
	dir := t.TempDir()
	db, pin := "sql:"+dir, filepath.Join(dir, "pin")
	if err := os.WriteFile(pin, []byte("CONFIG\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tool := func(args ...string) string {
		t.Helper()
		got := shared.run(t, host{args: args})
		if got.code != 0 {
			t.Fatalf("%s ended with %d: %s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
		}
		return got.stdout
	}
	tool(certutil, "-N", "-d", db, "--empty-password")
	tool(modutil, "-dbdir", db, "-force", "-add", "signkit", "-libfile", shared.variant[0].module)
	for _, list := range []struct {
		args  []string
		wants []string
	}{
		{[]string{modutil, "-dbdir", db, "-list"}, []string{"token: SignKit\n", "manufacturer=signkit;"}},
		{[]string{certutil, "-L", "-d", db, "-h", "all", "-f", pin}, []string{"SignKit:demo/p-256 ", "SignKit:demo/rsa-2048 ", "u,u,u"}},
		{[]string{certutil, "-K", "-d", db, "-h", "SignKit", "-f", pin}, []string{`ec       "demo/p-256"`, `rsa      "demo/rsa-2048"`}},
	} {
		out := tool(list.args...)
		for _, want := range list.wants {
			if !strings.Contains(out, want) {
				t.Errorf("%s shows no %q:\n%s", filepath.Base(list.args[0]), want, out)
			}
		}
	}
	for key, option := range map[string]string{"demo/rsa-2048": "-n", "demo/p-256": "-e"} {
		t.Run(key, func(t *testing.T) {
			port := ownPort(t)
			started := start(t, nil, selfserv, "-d", db, option, "SignKit:"+key, "-f", pin, "-p", port, "-V", "tls1.2:tls1.3")
			defer started.end(t)
			for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
				conn, err := started.handshake(port, key, version)
				if err != nil {
					t.Error(err)
					continue
				}
				conn.Close()
			}
		})
	}
}

const nginxConfig = `daemon off;
pid %[1]s/pid;
error_log stderr info;
user root;
worker_processes 4;
%[2]s
ssl_engine pkcs11;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
	ssl_protocols TLSv1.2 TLSv1.3;
	ssl_session_cache off;
	ssl_session_tickets off;
	server {
		listen 127.0.0.1:%[3]s ssl reuseport;
		ssl_certificate %[1]s/rsa-2048.pem;
		ssl_certificate_key "engine:pkcs11:pkcs11:object=demo%%2Frsa-2048;type=private;pin-value=CONFIG";
		location / { return 200 "$pid"; }
	}
	server {
		listen 127.0.0.1:%[4]s ssl reuseport;
		ssl_certificate %[1]s/p-256.pem;
		ssl_certificate_key "engine:pkcs11:pkcs11:object=demo%%2Fp-256;type=private;pin-value=CONFIG";
		location / { return 200 "$pid"; }
	}
}
`

// TestNginx: a web server that loads its keys in one process and signs with
// them in forked ones, also after its configuration was read again.
func TestNginx(t *testing.T) {
	nginx := "/usr/sbin/nginx" // not in every PATH
	if _, err := os.Stat(nginx); err != nil {
		nginx = need(t, "nginx")
	}
	needEngine(t)
	t.Parallel()
	dir := t.TempDir()
	ports := map[string]string{"demo/rsa-2048": ownPort(t), "demo/p-256": ownPort(t)}
	writeCertificates(t, dir)
	env := shared.environment(t, "PKCS11_MODULE_PATH="+shared.variant[0].module)
	names := "" // nginx keeps no variable for its workers but those it is told
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		names += "env " + name + "; "
	}
	file := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, dir, names, ports["demo/rsa-2048"], ports["demo/p-256"])
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	started := start(t, env, nginx, "-p", dir, "-c", file, "-e", "stderr")
	defer started.end(t)
	first := started.serve(t, ports, nil)
	if err := started.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	started.serve(t, ports, first)
}

// serve connects until three workers that are not among the old ones have
// answered, with both keys and both versions of TLS, and returns their numbers.
func (s *server) serve(t *testing.T, ports map[string]string, old []string) []string {
	t.Helper()
	var workers []string
	eventually(t, "an answer of three new workers", func() bool {
		var all sync.WaitGroup
		answers := make(chan string, 8)
		for i := range cap(answers) {
			key, version := []string{"demo/rsa-2048", "demo/p-256"}[i%2], []uint16{tls.VersionTLS12, tls.VersionTLS13}[i/2%2]
			all.Go(func() {
				worker, err := s.ask(ports[key], key, version)
				if err != nil {
					t.Error(err)
				}
				answers <- worker
			})
		}
		all.Wait()
		close(answers)
		for worker := range answers {
			if worker != "" && !slices.Contains(workers, worker) && !slices.Contains(old, worker) {
				workers = append(workers, worker)
			}
		}
		return t.Failed() || len(workers) >= 3
	})
	return workers
}

// writeCertificates fetches the leaf certificates of both keys as PEM files.
func writeCertificates(t *testing.T, dir string) {
	t.Helper()
	settings, err := config.Load(shared.service.Environment(), "/")
	if err != nil {
		t.Fatal(err)
	}
	client, err := signpath.New(settings, signpath.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	keys, err := client.Policies(t.Context(), signpath.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: key.Certificate().Raw})
		if err := os.WriteFile(filepath.Join(dir, key.PolicySlug()+".pem"), block, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// server is a program that listens until it is ended.
type server struct {
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan error
}

func start(t *testing.T, env []string, args ...string) *server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	t.Cleanup(cancel)
	s := &server{cmd: exec.CommandContext(ctx, args[0], args[1:]...), ended: make(chan error, 1)}
	if env == nil {
		env = shared.environment(t)
	}
	s.cmd.Env, s.cmd.Stdout, s.cmd.Stderr, s.cmd.WaitDelay = env, &s.stderr, &s.stderr, 10*time.Second
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	return s
}

func (s *server) end(t *testing.T) {
	t.Helper()
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.ended // within the bound of start
	if t.Failed() {
		t.Logf("the server says:\n%s", s.stderr.String())
	}
}

// ownPort is a port for a server of this test.
func ownPort(t *testing.T) string {
	t.Helper()
	holder, port, err := holdPort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(holder) })
	return strconv.Itoa(port)
}

// dial connects as soon as the server listens.
func (s *server) dial(port string) (net.Conn, error) {
	deadline := time.Now().Add(time.Minute)
	for {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Minute)
		if err == nil {
			return conn, conn.SetDeadline(deadline)
		}
		select {
		case failure := <-s.ended:
			s.ended <- failure
			return nil, fmt.Errorf("the server has ended: %w", failure)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, err
		}
	}
}

// handshake makes one TLS connection, which the server must sign with the key.
func (s *server) handshake(port, key string, version uint16) (*tls.Conn, error) {
	conn, err := s.dial(port)
	if err != nil {
		return nil, err
	}
	// The name and the chain are not the point: the key itself is compared.
	secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	if err := secure.Handshake(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s, %s: %w", key, tls.VersionName(version), err)
	}
	public, ok := shared.keys[key].(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(secure.ConnectionState().PeerCertificates[0].PublicKey) {
		conn.Close()
		return nil, fmt.Errorf("%s, %s: signed with another key", key, tls.VersionName(version))
	}
	return secure, nil
}

// ask returns the text that a web server answers with.
func (s *server) ask(port, key string, version uint16) (string, error) {
	conn, err := s.handshake(port, key, version)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		return "", err
	}
	answer, err := io.ReadAll(conn)
	_, text, found := strings.Cut(string(answer), "\r\n\r\n")
	if !found {
		return "", fmt.Errorf("no answer: %q, %w", answer, err)
	}
	return text, nil
}
