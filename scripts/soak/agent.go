package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// agentProcess is signkit agent, which is started several times with the same socket.
type agentProcess struct {
	dir, program string
	env          []string
	cmd          *exec.Cmd
	events       []string // files, one for each start

	mu   sync.Mutex
	gaps []gap
}

// gap is a time without an agent.
type gap struct{ from, to time.Time }

func (a *agentProcess) start() error {
	events := filepath.Join(a.dir, fmt.Sprintf("events-%d.jsonl", len(a.events)))
	cmd := exec.Command(a.program, "agent", "--socket", filepath.Join(a.dir, "agent"), "--events", events,
		"--key", keyRSA, "--key", keyEC, "--key", keyGPG)
	cmd.Env, cmd.Stderr = a.env, os.Stderr
	serves, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	a.cmd, a.events = cmd, append(a.events, events)
	if _, err := bufio.NewReader(serves).ReadString('\n'); err != nil {
		a.kill()
		return fmt.Errorf("the agent does not serve: %w", err)
	}
	return nil
}

func (a *agentProcess) end() { a.signal(syscall.SIGTERM) }

func (a *agentProcess) kill() { a.signal(syscall.SIGKILL) }

func (a *agentProcess) signal(s syscall.Signal) {
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Signal(s) // it may have ended
	_ = a.cmd.Wait()
	a.cmd = nil
}

// restart ends the agent and starts it again.
func (a *agentProcess) restart(end func()) error {
	a.mu.Lock()
	a.gaps = append(a.gaps, gap{from: time.Now()})
	a.mu.Unlock()
	end()
	err := a.start()
	for tries := 1; err != nil && tries < 5; tries++ { // the service may have failed what it was asked for
		err = a.start()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gaps[len(a.gaps)-1].to = time.Now()
	return err
}

// recovery is how long after a start clients may still find that their agent is gone.
const recovery = 2 * time.Minute

// missed reports whether there was no agent at some time since, and until a while ago.
func (a *agentProcess) missed(since time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, g := range a.gaps {
		if g.to.IsZero() || since.Before(g.to) && time.Since(g.to) < recovery {
			return true
		}
	}
	return false
}

// beforeKill reports whether what the service has signed then may be what an agent was killed over, the second: the first had time to
// put down how its calls ended.
func (a *agentProcess) beforeKill(signed time.Time) bool {
	return len(a.gaps) > 1 && signed.After(a.gaps[0].to) && signed.Before(a.gaps[1].to.Add(recovery))
}

// sample is what the agent uses.
type sample struct {
	At          float64 `json:"seconds"`
	MiB         float64 `json:"memoryMiB"`
	Descriptors int     `json:"descriptors"`
	Threads     int     `json:"threads"`
}

func (a *agentProcess) sample(at time.Duration) (sample, error) {
	s := sample{At: at.Seconds()}
	if a.cmd == nil {
		return s, os.ErrProcessDone
	}
	proc := fmt.Sprintf("/proc/%d/", a.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return s, err
	}
	for line := range strings.Lines(string(status)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, _ := strconv.Atoi(fields[1])
		switch fields[0] {
		case "VmRSS:":
			s.MiB = float64(n) / 1024
		case "Threads:":
			s.Threads = n
		}
	}
	descriptors, err := os.ReadDir(proc + "fd")
	s.Descriptors = len(descriptors)
	if err == nil && s.Threads == 0 {
		err = os.ErrProcessDone
	}
	return s, err
}
