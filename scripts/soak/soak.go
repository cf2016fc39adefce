package main

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"signkit/internal/config"
	"signkit/internal/mockapi"
	"signkit/internal/signpath"
)

// The keys that the agent has.
const (
	keyRSA = "demo/rsa-3072"
	keyEC  = "demo/p-256"
	keyGPG = "demo/gpg-p-256"
)

// soak is one run: the service, the agent, and what the clients have found.
type soak struct {
	o       options
	ctx     context.Context // until the clients are to end
	stop    func()
	dir     string
	service *mockapi.Server
	agent   *agentProcess
	env     []string // of clients: it has no credentials
	public  map[string]crypto.PublicKey
	began   time.Time

	mu       sync.Mutex
	doors    map[string]*door
	made     map[string]string // by digest, the door that said it was signed
	problems []string
	samples  []sample
	requests int // to the service
	faults   int // that it was asked for
}

func newSoak(ctx context.Context, o options) (_ *soak, err error) {
	dir, err := os.MkdirTemp("", "soak")
	if err != nil {
		return nil, err
	}
	s := &soak{o: o, dir: dir, doors: map[string]*door{}, made: map[string]string{}, public: map[string]crypto.PublicKey{}}
	s.ctx, s.stop = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.service, err = mockapi.Start(mockapi.Options{StateDir: filepath.Join(dir, "state")}); err != nil {
		return nil, err
	}
	if err := s.service.GenerateKeys(s.ctx); err != nil {
		return nil, err
	}
	if err := s.readPublicKeys(); err != nil {
		return nil, err
	}
	s.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "SIGNKIT_AGENT=" + filepath.Join(dir, "agent"),
		"GNUPGHOME=" + filepath.Join(dir, "gnupg"), "PKCS11_MODULE_PATH=" + s.module()}
	s.agent = &agentProcess{dir: dir, program: filepath.Join(o.build, "signkit"), env: append(s.service.Environment(),
		"PATH="+os.Getenv("PATH"), "HOME="+dir, "SIGNPATH_LOG_CONSOLE_LEVEL=none", "SIGNPATH_TIMEOUTS_FIRST_RETRY_DELAY=0.2")}
	if err := s.agent.start(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(dir, "gnupg"), 0o700); err != nil {
		return nil, err
	}
	if _, err := s.output("", filepath.Join(o.build, "signkit"), "gpg", "init", "--homedir", filepath.Join(dir, "gnupg"), keyGPG); err != nil {
		return nil, err
	}
	return s, s.service.SetFaults(faults(o.every))
}

// faults are as many of each kind, so that one of every so many requests fails.
func faults(every int) []mockapi.Fault {
	if every == 0 {
		return nil
	}
	return []mockapi.Fault{
		{Route: "any", Kind: "status", Status: 503, Every: 3 * every, Count: -1},
		{Route: "any", Kind: "status", Status: 429, RetryAfter: "1", Every: 3 * every, Count: -1},
		{Route: "any", Kind: "reset", Every: 3 * every, Count: -1},
	}
}

func (s *soak) module() string { return filepath.Join(s.o.build, "libsignkit-pkcs11.so") }

// readPublicKeys asks the service itself: what an agent says proves nothing.
func (s *soak) readPublicKeys() error {
	client, err := s.client(s.service.Environment())
	if err != nil {
		return err
	}
	defer client.Close()
	keys, err := client.Policies(s.ctx, signpath.Filter{})
	for _, key := range keys {
		s.public[key.ID()] = key.Public()
	}
	return err
}

func (s *soak) client(env []string) (*signpath.Client, error) {
	cfg, err := config.Load(env, s.dir)
	if err != nil {
		return nil, err
	}
	return signpath.New(cfg, signpath.Options{})
}

func (s *soak) close() {
	s.stop()
	if _, err := os.Stat(filepath.Join(s.dir, "gnupg")); err == nil {
		_, _ = s.output("", "gpgconf", "--kill", "all")
		_, _ = s.output("", "gpgconf", "--remove-socketdir")
	}
	if s.agent != nil {
		s.agent.end()
	}
	if s.service != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = s.service.Close(ctx)
	}
	_ = os.RemoveAll(s.dir)
}

// patience is more than any call of a client takes, its waits for a service that fails included.
const patience = 5 * time.Minute

// output runs a client's program. It ends by itself also where the run is over: what was begun is to be judged.
func (s *soak) output(input, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.WaitDelay, cmd.Stdin = s.env, time.Minute, strings.NewReader(input)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", filepath.Base(name), err, strings.TrimSpace(said.String()))
	}
	return string(out), err
}

// Of the run's duration, the agent ends after the first part by SIGTERM and after the second by SIGKILL; what it needs is compared
// in the rest, after some time to get going.
const (
	firstRestart  = 0.10
	secondRestart = 0.20
	flatFrom      = 0.30
	sampled       = 200 // times in all
)

// sign lets all clients sign, and does to the agent what is to be done.
func (s *soak) sign() {
	s.began = time.Now()
	var clients sync.WaitGroup
	for i := range s.o.clients {
		clients.Go(func() { s.serve(i, ways[i%len(ways)]) })
	}
	part := func(f float64) time.Duration { return time.Duration(f * float64(s.o.duration)) }
	restarts := []struct {
		after time.Duration
		end   func()
	}{{part(firstRestart), s.agent.end}, {part(secondRestart), s.agent.kill}}
	ticker := time.NewTicker(max(s.o.duration/sampled, 100*time.Millisecond))
	defer ticker.Stop()
	end := time.After(s.o.duration)
	for running := true; running; {
		select {
		case <-s.ctx.Done():
			running = false
		case <-end:
			running = false
		case <-ticker.C:
			s.look()
		}
		if running && len(restarts) > 0 && time.Since(s.began) > restarts[0].after {
			if err := s.agent.restart(restarts[0].end); err != nil {
				s.problem("the agent does not start again: %v", err)
			}
			restarts = restarts[1:]
		}
	}
	s.stop()
	clients.Wait()
	s.countRequests()
	s.agent.end()
}

// stillWaits reports whether a client that fails at the end of the run may go on until it has recovered.
func (s *soak) stillWaits() bool { return time.Since(s.began) < s.o.duration+recovery }

// look takes a sample of the agent, and counts what the service was asked.
func (s *soak) look() {
	found, err := s.agent.sample(time.Since(s.began))
	if err != nil {
		s.problem("the agent is gone: %v", err)
		return
	}
	s.countRequests()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.samples = append(s.samples, found)
}

// countRequests empties the service's list, which would grow.
func (s *soak) countRequests() {
	list := s.service.Requests()
	s.service.ClearRequests()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests += len(list)
	for _, r := range list {
		if r.Status == 0 || r.Status == 429 || r.Status >= 500 {
			s.faults++
		}
	}
}

// maxProblems are enough to see what is wrong.
const maxProblems = 100

func (s *soak) problem(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf("%s: ", time.Since(s.began).Round(100*time.Millisecond)) + fmt.Sprintf(format, args...)
	fmt.Fprintln(os.Stderr, "soak:", text)
	if len(s.problems) < maxProblems {
		s.problems = append(s.problems, text)
	}
}

var errNoSignature = errors.New("it says that it signed, and there is no signature")
