package main

import (
	"bufio"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/big"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"signkit/internal/signpath"
)

// way is a way to a signature. Half of them are programs that end, half stay connected.
type way struct {
	door string
	key  string
	open func(*client) (signer, error)
}

var ways = []way{
	{"module, stays", keyRSA, openModule},
	{"openssl", keyRSA, openOpenSSL},
	{"module, stays", keyEC, openModule},
	{"pkcs11-tool", keyEC, openPKCS11Tool},
	{"REST, stays", keyRSA, openREST},
	{"gpg", keyGPG, openGPG},
	{"REST, stays", keyEC, openREST},
	{"sign-hash", keyEC, openSignHash},
}

// door counts what came of one way.
type door struct {
	Signed    int `json:"signed"`
	Failed    int `json:"failed"` // with an error, while the agent was started anew
	Recovered int `json:"recovered"`
}

// client is one of many.
type client struct {
	*soak
	way
	number int
	count  int // of its signatures, also of those that failed
}

// signer makes a signature of a file whose SHA-256 digest is given. It checks what the public key cannot tell.
type signer interface {
	sign(file string, digest []byte) ([]byte, error)
	close()
}

// serve signs until the run ends, and puts down what came of it.
func (s *soak) serve(number int, w way) {
	c := &client{soak: s, way: w, number: number}
	signer, err := w.open(c)
	defer func() {
		if signer != nil {
			signer.close()
		}
	}()
	succeeded, failing := time.Now(), false
	for s.ctx.Err() == nil || failing && s.stillWaits() {
		began := time.Now()
		if signer == nil {
			signer, err = w.open(c)
		}
		if err == nil {
			err = c.one(signer)
		}
		switch {
		case err == nil:
			c.done(failing)
			succeeded, failing = began, false
		case errors.Is(err, errWrong):
			s.problem("%s: %v", w.door, err)
			err = nil
		default:
			failing = true
			c.failed(err, succeeded)
			err = nil // the signer stays: how it recovers is its own affair
		}
		c.wait()
	}
	if failing {
		s.problem("%s: client %d has not recovered", w.door, number)
	}
}

// errWrong reports what must never be.
var errWrong = errors.New("wrong")

// one signs what nobody has signed before.
func (c *client) one(signer signer) error {
	c.count++
	file := filepath.Join(c.dir, fmt.Sprintf("client-%d", c.number))
	data := fmt.Appendf(nil, "client %d, signature %d", c.number, c.count)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	_ = os.Remove(file + ".sig")
	digest := sha256.Sum256(data)
	signature, err := signer.sign(file, digest[:])
	if err != nil {
		return err
	}
	if len(signature) == 0 {
		return fmt.Errorf("%w: %w", errWrong, errNoSignature)
	}
	if c.key == keyGPG {
		return nil // gpg has verified it
	}
	if !verifies(c.public[c.key], digest[:], signature) {
		return fmt.Errorf("%w: the signature of %s does not verify", errWrong, data)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made[hex.EncodeToString(digest[:])] = c.door
	return nil
}

func verifies(public crypto.PublicKey, digest, signature []byte) bool {
	switch public := public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature) == nil
	case *ecdsa.PublicKey:
		if half := (public.Curve.Params().BitSize + 7) / 8; len(signature) == 2*half {
			r, s := new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])
			if ecdsa.Verify(public, digest, r, s) {
				return true
			}
		}
		return ecdsa.VerifyASN1(public, digest, signature)
	}
	return false
}

func (c *client) counts(change func(*door)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.doors[c.door]
	if d == nil {
		d = new(door)
		c.doors[c.door] = d
	}
	change(d)
}

func (c *client) done(recovered bool) {
	c.counts(func(d *door) {
		d.Signed++
		if recovered {
			d.Recovered++
		}
	})
}

// failed is right where the agent was gone since the last success. The error must say something.
func (c *client) failed(err error, since time.Time) {
	c.counts(func(d *door) { d.Failed++ })
	switch {
	case !c.agent.missed(since):
		c.problem("%s: it failed with an agent there: %v", c.door, err)
	case strings.TrimSpace(err.Error()) == "":
		c.problem("%s: it failed without a word", c.door)
	}
}

// wait is half to one and a half of the pause, so that clients do not march in step.
func (c *client) wait() {
	select {
	case <-time.After(time.Duration((0.5 + rand.Float64()) * float64(c.o.pause))):
	case <-c.ctx.Done():
		time.Sleep(100 * time.Millisecond) // it signs once more only where it must recover
	}
}

// program is a signer that starts a program for each signature, which writes to FILE.sig.
type program func(file string, digest []byte) error

func (p program) sign(file string, digest []byte) ([]byte, error) {
	if err := p(file, digest); err != nil {
		return nil, err
	}
	signature, err := os.ReadFile(file + ".sig")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return signature, err
}

func (program) close() {}

// pin is what the module takes with an agent.
const pin = "CONFIG"

func openOpenSSL(c *client) (signer, error) {
	return program(func(file string, _ []byte) error {
		_, err := c.output("", "openssl", "dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256",
			"-sign", "pkcs11:object="+url.PathEscape(c.key)+";type=private;pin-value="+pin, "-out", file+".sig", file)
		return err
	}), nil
}

func openPKCS11Tool(c *client) (signer, error) {
	return program(func(file string, digest []byte) error {
		if err := os.WriteFile(file+".digest", digest, 0o600); err != nil {
			return err
		}
		_, err := c.output("", "pkcs11-tool", "--module", c.module(), "--login", "--pin", pin, "--sign", "--mechanism", "ECDSA",
			"--id", hex.EncodeToString([]byte(c.key)), "--input-file", file+".digest", "--output-file", file+".sig")
		return err
	}), nil
}

func openSignHash(c *client) (signer, error) {
	return program(func(file string, digest []byte) error {
		_, err := c.output("", filepath.Join(c.o.build, "signkit"), "sign-hash", c.key, hex.EncodeToString(digest), "--output", file+".sig")
		return err
	}), nil
}

func openGPG(c *client) (signer, error) {
	return program(func(file string, _ []byte) error {
		if _, err := c.output("", "gpg", "--batch", "--quiet", "--no-tty", "--output", file+".sig", "--detach-sign", file); err != nil {
			return err
		}
		if _, err := c.output("", "gpg", "--batch", "--no-tty", "--verify", file+".sig", file); err != nil {
			return fmt.Errorf("%w: %w", errWrong, err)
		}
		return nil
	}), nil
}

// restSigner keeps a connection to the agent's second socket, as the bridge does.
type restSigner struct {
	client *signpath.Client
	key    *signpath.Key
}

func openREST(c *client) (signer, error) {
	client, err := c.soak.client(c.env)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), patience)
	defer cancel()
	project, policy, _ := strings.Cut(c.key, "/")
	keys, err := client.Policies(ctx, signpath.Filter{ProjectSlug: project, SigningPolicySlug: policy})
	if err == nil && len(keys) != 1 {
		err = fmt.Errorf("the agent has %d keys %s", len(keys), c.key)
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	return &restSigner{client, keys[0]}, nil
}

func (r *restSigner) sign(_ string, digest []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return r.key.SignContext(ctx, digest, crypto.SHA256)
}

func (r *restSigner) close() { r.client.Close() }

// moduleSigner is a host process that stays logged in: see module.go.
type moduleSigner struct {
	cmd   *exec.Cmd
	ask   io.WriteCloser
	reply *bufio.Reader
}

func openModule(c *client) (signer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, moduleClientCommand, c.module(), c.key)
	cmd.Env = c.env
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &moduleSigner{cmd, in, bufio.NewReader(out)}, nil
}

func (m *moduleSigner) sign(_ string, digest []byte) ([]byte, error) {
	if _, err := fmt.Fprintf(m.ask, "%x\n", digest); err != nil {
		return nil, err
	}
	line, err := m.reply.ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("%w: the host process is gone: %w", errWrong, err)
	}
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if word != "signed" {
		return nil, errors.New(rest)
	}
	return hex.DecodeString(rest)
}

func (m *moduleSigner) close() {
	_ = m.ask.Close()
	_ = m.cmd.Wait()
}
