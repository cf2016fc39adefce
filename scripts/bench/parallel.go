package main

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"

	"signkit/internal/mockapi"
)

// workers sign at the same time, on both sides.
const workers = 16

// parallel: signatures per second of 16 threads in one host, beside a Go program that does
// nothing but send the same requests over its one HTTPS connection.
func parallel(b *bench) ([]row, error) {
	_, verify, err := goRSA(b.runs)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, c := range []struct {
		key    string
		delay  int // of the service, in milliseconds
		each   int // signatures of one worker
		target float64
	}{
		{keyRSA, 0, 12, 0.9},
		{keyRSA, 30, 12, 0.9},
		{keyEC, 0, 100, 0},
		{keyEC, 30, 20, 0},
	} {
		r, err := b.rate(c.key, c.delay, c.each)
		if err != nil {
			return nil, err
		}
		if c.target > 0 {
			r = r.throughput(c.target)
			r = r.limitedBy(checking(r, verify))
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (b *bench) rate(key string, delay, each int) (row, error) {
	var faults []mockapi.Fault
	if delay > 0 {
		faults = []mockapi.Fault{{Route: "sign", Kind: "delay", MS: delay, Count: -1}}
	}
	if err := b.service.SetFaults(faults); err != nil {
		return row{}, err
	}
	defer func() { _ = b.service.SetFaults(nil) }()
	self, err := os.Executable()
	if err != nil {
		return row{}, err
	}
	env := append(slices.Clone(b.env), "SIGNKIT_MAX_PARALLEL="+strconv.Itoa(workers))
	ours, other, err := b.alternate(
		func(into samples) error {
			return b.sampleHost(into, env, b.module, key, "threads", strconv.Itoa(workers), strconv.Itoa(each))
		},
		func(into samples) error {
			b.service.ClearRequests()
			out, err := b.output(env, self, rawClientCommand, key, strconv.Itoa(workers), strconv.Itoa(each))
			if err != nil {
				return err
			}
			return into.read(out)
		},
	)
	name := fmt.Sprintf("%d threads, %s, service delay %d ms", workers, keyNames[key], delay)
	return compare(name, "/s", "raw Go HTTPS client", ours["rate"], other["rate"]), err
}

// checking says how much of the difference is the check of each signature. It supposes that
// both sides keep all processors busy, as they do where the service has no delay.
func checking(r row, verify summary) string {
	busy := func(rate float64) float64 { return 1000 * float64(runtime.NumCPU()) / rate }
	ours, other := busy(r.Ours.Median), busy(r.Other.Median)
	return fmt.Sprintf("if no processor is idle, a signature takes %.2f ms of processor time, service included, and %.2f ms without us; "+
		"%.2f ms of the difference is the check of the signature, which the other side leaves out: without it %.2f",
		ours, other, verify.Median, other/(ours-verify.Median))
}
