package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"signkit/internal/mockapi"
)

// agentSide is a signkit agent, and what programs need that sign through it.
type agentSide struct {
	cmd *exec.Cmd
	env []string // of these programs: it has no credentials
}

// startAgent starts an agent of some keys, which has env.
func (b *bench) startAgent(env []string, keys ...string) (*agentSide, error) {
	dir, err := os.MkdirTemp(b.dir, "agent")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "agent")
	args := []string{"agent", "--socket", socket}
	for _, key := range keys {
		args = append(args, "--key", key)
	}
	cmd := exec.CommandContext(b.ctx, filepath.Join(filepath.Dir(b.module), "signkit"), args...)
	cmd.Env, cmd.Stderr = env, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = time.Minute
	serves, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	a := &agentSide{cmd: cmd, env: []string{"PATH=" + os.Getenv("PATH"), "SIGNKIT_AGENT=" + socket, "SIGNPATH_LOG_CONSOLE_LEVEL=error",
		"SIGNPATH_TIMEOUTS_RETRY_COUNT=0", "SOFTHSM2_CONF=" + filepath.Join(b.dir, "softhsm2.conf")}}
	if _, err := bufio.NewReader(serves).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("the agent does not serve: %w", err), a.end())
	}
	return a, nil
}

func (a *agentSide) end() error {
	_ = a.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	return a.cmd.Wait()
}

// throughAgent: what programs pay, or save, where an agent holds their credentials.
func throughAgent(b *bench) ([]row, error) {
	agent, err := b.startAgent(b.env, keyRSA, keyEC)
	if err != nil {
		return nil, err
	}
	defer func() { _ = agent.end() }()
	var rows []row
	for _, measure := range []func(*bench, *agentSide) ([]row, error){agentOpenSSL, agentStart, agentDistant} {
		more, err := measure(b, agent)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// agentOpenSSL: as group openssl, with the agent. It keeps its connection to the service, and SoftHSM2 reads its token from disk.
func agentOpenSSL(b *bench, agent *agentSide) ([]row, error) {
	var rows []row
	for _, c := range []struct {
		key  string
		most float64
	}{{keyRSA, 0.9}, {keyEC, 0.8}} {
		ours, other, err := b.alternate(
			func(into samples) error { return b.signWhole(into, agent.env, b.module, c.key, b.small()) },
			func(into samples) error { return b.signWhole(into, b.env, b.softhsm, c.key, b.small()) },
		)
		if err != nil {
			return nil, err
		}
		rows = append(rows, compare("agent: openssl dgst -sign, "+keyNames[c.key], "ms", "SoftHSM2", ours["whole"], other["whole"]).ratio(c.most))
	}
	return rows, nil
}

func agentStart(b *bench, agent *agentSide) ([]row, error) {
	ours, other, err := b.alternate(
		func(into samples) error { return b.sampleHost(into, agent.env, b.module, keyEC) },
		func(into samples) error { return b.sampleHost(into, b.env, b.softhsm, keyEC) },
	)
	if err != nil {
		return nil, err
	}
	return []row{
		compare("agent: dlopen + C_Initialize", "ms", "SoftHSM2", ours["initialize"], other["initialize"]).ratio(0.05),
		compare("agent: load to first signature, P-256", "ms", "SoftHSM2", ours["first"], other["first"]),
	}, nil
}

// agentDistant: a new process behind an agent needs one round trip to a service that is not next door, and without one four.
func agentDistant(b *bench, _ *agentSide) ([]row, error) {
	service, err := url.Parse(b.service.BaseURL())
	if err != nil {
		return nil, err
	}
	relay, err := newRelay(service.Host, distance)
	if err != nil {
		return nil, err
	}
	defer relay.Close()
	service.Host = relay.Addr().String()
	env := append(slices.Clone(b.env), "SIGNPATH_API_URL="+service.JoinPath("Api").String(), systemRoots)
	agent, err := b.startAgent(env, keyRSA)
	if err != nil {
		return nil, err
	}
	defer func() { _ = agent.end() }()
	against := []struct{ name, module string }{{"signkit without agent", b.module}}
	if b.otherBuild != "" {
		against = append(against, struct{ name, module string }{b.otherBuild, filepath.Join(b.otherBuild, filepath.Base(b.module))})
	}
	var rows []row
	for _, side := range against {
		ours, other, err := b.alternate(
			func(into samples) error { return b.signWhole(into, agent.env, b.module, keyRSA, b.small()) },
			func(into samples) error { return b.signWhole(into, env, side.module, keyRSA, b.small()) },
		)
		if err != nil {
			return nil, err
		}
		rows = append(rows, compare("agent: openssl dgst -sign, 20 ms away", "ms", side.name, ours["whole"], other["whole"]).ratio(0.4))
	}
	return rows, nil
}

const (
	burstProcesses = 1000
	burstWorkers   = 100 // processes at the same time
	burstParallel  = 16  // requests at the same time, the agent's own default
	burstDelay     = 100 // of the service, in milliseconds
	burstRounds    = 3   // of each side; one takes as long as hundreds of other measurements
)

// agentBurst: the most that a large build asks for, beside a program that only sends as many requests.
func agentBurst(b *bench) ([]row, error) {
	if err := b.service.SetFaults([]mockapi.Fault{{Route: "sign", Kind: "delay", MS: burstDelay, Count: -1}}); err != nil {
		return nil, err
	}
	defer func() { _ = b.service.SetFaults(nil) }()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	runs := b.runs
	b.runs = min(runs, burstRounds)
	defer func() { b.runs = runs }()
	ours, other, err := b.alternate(b.burst, func(into samples) error {
		b.service.ClearRequests()
		each := burstProcesses / burstParallel
		rates := samples{}
		out, err := b.output(b.env, self, rawClientCommand, keyRSA, strconv.Itoa(burstParallel), strconv.Itoa(each))
		if err == nil {
			err = rates.read(out)
		}
		if err != nil {
			return err
		}
		into.add("seconds", burstProcesses/rates["rate"][0])
		into.add("failures", 0)
		into.add("policies", float64(b.policyRequests()))
		return nil
	})
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("agent: %d openssl, %d at a time, %d ms", burstProcesses, burstWorkers, burstDelay)
	against := fmt.Sprintf("raw Go client, %d parallel", burstParallel)
	return []row{
		compare(name+": failures", "", against, ours["failures"], other["failures"]).atMost(0),
		compare(name+": policy requests", "", against, ours["policies"], other["policies"]).atMost(1),
		compare(name, "s", against, ours["seconds"], other["seconds"]).ratio(1.15),
	}, nil
}

// burst starts an agent, and then all processes of one round.
func (b *bench) burst(into samples) error {
	dir, err := os.MkdirTemp(b.dir, "burst")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.service.ClearRequests()
	agent, err := b.startAgent(b.env, keyRSA)
	if err != nil {
		return err
	}
	defer func() { _ = agent.end() }()
	var group sync.WaitGroup
	var next, failures atomic.Int64
	begin := time.Now()
	for range burstWorkers {
		group.Go(func() {
			for i := next.Add(1); i <= burstProcesses && b.ctx.Err() == nil; i = next.Add(1) {
				file := filepath.Join(dir, fmt.Sprint(i)) // each has other contents: nothing is signed twice
				if err := errors.Join(os.WriteFile(file, []byte(file), 0o600), b.signWhole(samples{}, agent.env, b.module, keyRSA, file)); err != nil {
					failures.Add(1)
					fmt.Fprintln(os.Stderr, "bench:", err)
				}
			}
		})
	}
	group.Wait()
	into.add("seconds", time.Since(begin).Seconds())
	into.add("failures", float64(failures.Load()))
	into.add("policies", float64(b.policyRequests()))
	signed := len(b.service.Requests()) - b.policyRequests()
	if wanted := burstProcesses - int(failures.Load()); signed < wanted {
		return fmt.Errorf("the service was asked %d times for %d signatures", signed, wanted)
	}
	return b.ctx.Err()
}

func (b *bench) policyRequests() int {
	count := 0
	for _, request := range b.service.Requests() {
		if strings.HasSuffix(request.Path, "/MySigningPolicies") {
			count++
		}
	}
	return count
}

// connections are the modules that are connected to an agent at the same time.
const connections = 1000

// agentMemory: what an agent has in memory for each program that is connected, has signed, and stays.
func agentMemory(b *bench) ([]row, error) {
	ours, other := samples{}, samples{}
	for range min(b.runs, burstRounds) {
		before, with, err := b.connectedMemory()
		if err != nil {
			return nil, err
		}
		ours.add("memory", with)
		other.add("memory", before)
		ours.add("each", (with-before)*1024/connections)
	}
	softhsm := samples{}
	for range min(b.runs, burstRounds) {
		if err := b.sampleHost(softhsm, b.env, b.softhsm, keyEC); err != nil {
			return nil, err
		}
	}
	for _, memory := range softhsm["memory"] {
		other.add("each", memory*1024)
	}
	return []row{
		compare(fmt.Sprintf("agent: its memory, %d modules connected", connections), "MiB", "the same, nobody connected", ours["memory"], other["memory"]).atMost(64),
		compare("agent: its memory for each of them", "KiB", "SoftHSM2, in each host", ours["each"], other["each"]).atMost(40),
	}, nil
}

// connectedMemory is an agent's memory in MiB, before and while hosts are connected.
func (b *bench) connectedMemory() (before, with float64, err error) {
	agent, err := b.startAgent(b.env, keyEC)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, agent.end()) }()
	if err := b.sampleHost(samples{}, agent.env, b.module, keyEC); err != nil { // which makes what is made once
		return 0, 0, err
	}
	pid := agent.cmd.Process.Pid
	if before, err = memoryOf(pid); err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	hosts := exec.CommandContext(ctx, b.host, b.module, pin, keyEC, "hosts", strconv.Itoa(connections))
	hosts.Env, hosts.Stderr, hosts.WaitDelay = agent.env, os.Stderr, time.Minute
	stay, err := hosts.StdinPipe()
	if err != nil {
		return 0, 0, err
	}
	out, err := hosts.StdoutPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := hosts.Start(); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, stay.Close(), hosts.Wait()) }()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "hosts ") {
			with, err = memoryOf(pid)
			return before, with, err
		}
	}
	return 0, 0, errors.Join(lines.Err(), io.ErrUnexpectedEOF)
}

// memoryOf is what a process has in memory, in MiB.
func memoryOf(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no memory", pid)
}
