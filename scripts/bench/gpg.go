package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"signkit/internal/mockapi"
)

const (
	gpgUser    = "bench@example.com"
	gpgSingles = 200 // signatures one after the other, of each side
	gpgBatches = 7   // of signatures at the same time, of each side
	gpgBatch   = 64
)

// The sides of group gpg. The first three have the same key of the service, the bridge also with an
// agent in between. The last two have keys that gpg-agent keeps itself: one like the
// service's, and one that signs in next to no time, so that what is left is gpg and gpg-agent.
const (
	bridge = iota
	agentBridge
	pkcs11Daemon
	softKey
	gpgAlone
	gpgSides
)

var gpgNames = [gpgSides]string{"signkit-scdaemon", "signkit-scdaemon, agent", "gnupg-pkcs11-scd", "soft key in gpg-agent", "gpg alone"}

// gpgRun is one way to make many signatures, with the targets for it.
type gpgRun struct {
	workers int // gpg processes at the same time
	delay   int // of the service, in milliseconds
	most    float64
	agent   float64 // so many times gnupg-pkcs11-scd with an agent; 0: without that side
}

// wholeGPG: gpg --detach-sign, whole processes, through our bridge, through gnupg-pkcs11-scd
// with our module, and with a key that gpg-agent has itself.
func wholeGPG(b *bench) ([]row, error) {
	homes, err := b.gpgHomes()
	defer homes.end(b)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, run := range []gpgRun{
		{workers: 1},
		{workers: 1, delay: 100},
		{workers: 16, agent: 0.7},
		{workers: 16, delay: 100},
		{workers: 32, delay: 100, most: 15},
	} {
		more, err := homes.measure(b, run)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// gpgHome is a GNUPGHOME with one key, and what was measured with it.
type gpgHome struct {
	dir    string
	env    []string
	agent  *agentSide // nil: it signs without one
	times  []float64  // of the present run, milliseconds for each signature
	failed int
	count  atomic.Int64 // files signed
}

type gpgHomes [gpgSides]*gpgHome

func (homes *gpgHomes) measure(b *bench, run gpgRun) ([]row, error) {
	if run.delay > 0 {
		if err := b.service.SetFaults([]mockapi.Fault{{Route: "sign", Kind: "delay", MS: run.delay, Count: -1}}); err != nil {
			return nil, err
		}
		defer func() { _ = b.service.SetFaults(nil) }()
	}
	rounds, count := gpgBatches, gpgBatch
	if run.workers == 1 {
		rounds, count = gpgSingles, 1
	}
	taking := slices.DeleteFunc(slices.Clone(homes[:]), func(h *gpgHome) bool { return h.agent != nil && run.agent == 0 })
	for _, home := range taking {
		home.sign(b, run.workers, run.workers) // fills caches
		home.times, home.failed = nil, 0
	}
	b.service.ClearRequests()
	for round := range rounds {
		for i := range taking { // who begins changes: whoever follows finds the machine warm
			home := taking[(i+round)%len(taking)]
			begin := time.Now()
			errs := home.sign(b, run.workers, count)
			home.times = append(home.times, milliseconds(begin)/float64(count))
			home.failed += len(errs)
			if len(errs) > 0 && home != homes[pkcs11Daemon] {
				return nil, errors.Join(errs...)
			}
		}
		if err := b.ctx.Err(); err != nil {
			return nil, err
		}
	}
	total := rounds * count
	// A signature that the service did not make would be no measurement.
	asked, wanted := len(b.service.Requests()), (len(taking)-2)*total-homes[pkcs11Daemon].failed
	if asked < wanted {
		return nil, fmt.Errorf("the service was asked %d times for %d signatures", asked, wanted)
	}
	service, err := b.bareRequest(run.workers)
	return homes.rows(run, total, service), err
}

// bareRequest is how long a program takes for each signature that only sends the requests.
func (b *bench) bareRequest(workers int) (float64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	rates := make(samples)
	for range 3 {
		out, err := b.output(b.env, self, rawClientCommand, keyRSA, strconv.Itoa(workers), strconv.Itoa(gpgBatch/workers))
		if err == nil {
			err = rates.read(out)
		}
		if err != nil {
			return 0, err
		}
	}
	return 1000 / summarize(rates["rate"]).Median, nil
}

func (homes *gpgHomes) rows(run gpgRun, total int, service float64) []row {
	name := fmt.Sprintf("gpg, %d at a time, service delay %d ms", run.workers, run.delay)
	ours, other, soft := homes[bridge].times, homes[pkcs11Daemon].times, homes[softKey].times
	against := gpgNames[pkcs11Daemon]
	if failed := homes[pkcs11Daemon].failed; failed > 0 {
		against = fmt.Sprintf("%s, %d of %d failed", against, failed, total)
	}
	r := compare(name, "ms", against, ours, other).ratio(0.8)
	rows := []row{r.limitedBy(homes.limit(r, service))}
	if run.most > 0 {
		r := compare(name+", each", "ms", against, ours, other).atMost(run.most)
		rows = append(rows, r.limitedBy(fmt.Sprintf("gpg and gpg-agent alone need %.1f ms for each with as many at a time, and at most 16 requests "+
			"of the bridge are under way (SIGNKIT_MAX_PARALLEL): %.1f ms for each is the least with the delay", homes.alone(), float64(run.delay)/16)))
	}
	if run.agent > 0 {
		ours := homes[agentBridge].times
		r := compare("agent: "+name, "ms", against, ours, other).ratio(run.agent)
		rows = append(rows, r.limitedBy(homes.limit(r, service)), compare("the same", "ms", gpgNames[gpgAlone], ours, homes[gpgAlone].times))
	}
	return append(rows, compare(name, "ms", gpgNames[softKey], ours, soft))
}

// limit says what no program between gpg-agent and the service can change.
func (homes *gpgHomes) limit(r row, service float64) string {
	return fmt.Sprintf("gpg and gpg-agent need %.1f ms for a signature with a key that signs in next to no time, and a program that only "+
		"sends the requests %.1f ms: with a card program that needed no time at all it would be %.2f×",
		homes.alone(), service, (homes.alone()+service)/r.Other.Median)
}

func (homes *gpgHomes) alone() float64 { return summarize(homes[gpgAlone].times).Median }

// sign makes so many signatures with so many processes at a time and returns what failed.
func (h *gpgHome) sign(b *bench, workers, count int) []error {
	var group sync.WaitGroup
	errs := make([]error, count)
	for worker := range workers {
		group.Go(func() {
			for i := worker; i < count; i += workers {
				errs[i] = h.signOne(b, worker)
			}
		})
	}
	group.Wait()
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// signOne signs a file that was never signed before: within a second gpg asks for the same
// signature of the same file, and the module gives an RSA signature that it has just made again.
func (h *gpgHome) signOne(b *bench, worker int) error {
	if err := os.WriteFile(h.file(worker), fmt.Append(nil, h.count.Add(1)), 0o600); err != nil {
		return err
	}
	_, err := h.gpg(b, "--digest-algo", "SHA256", "--local-user", gpgUser,
		"--output", h.file(worker)+".sig", "--detach-sign", h.file(worker))
	return err
}

func (h *gpgHome) file(worker int) string { return filepath.Join(h.dir, fmt.Sprint("file", worker)) }

func (h *gpgHome) gpg(b *bench, args ...string) (string, error) {
	return b.output(h.env, "gpg", append([]string{"--batch", "--yes", "--quiet", "--no-tty"}, args...)...)
}
