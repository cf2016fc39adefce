package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"signkit/internal/event"
)

// report is what came of a run.
type report struct {
	Seconds  float64          `json:"seconds"`
	Clients  int              `json:"clients"`
	Doors    map[string]*door `json:"doors"`
	Requests int              `json:"requests"` // to the service
	Faults   int              `json:"faults"`   // of these
	Restarts int              `json:"restarts"`

	Recorded int `json:"recorded"` // signatures in the agents' events
	Failures int `json:"failures"` // in the events
	Audited  int `json:"audited"`  // signatures in the service's list
	// Repeated were made by the service, whose answer did not arrive: the event with the digest tells of another attempt.
	Repeated int `json:"repeated"`
	// Killed were asked for by the agent that was killed, which could not record how they ended.
	Killed int `json:"killed"`

	Start  sample `json:"start"`
	Middle sample `json:"middle"`
	End    sample `json:"end"`

	Problems []string `json:"problems"`
}

// agentParallel bounds the signatures that a killed agent had asked for: it is its own default.
const agentParallel = 16

// judge compares what clients, agents and service have put down.
func (s *soak) judge() (*report, error) {
	r := &report{Seconds: time.Since(s.began).Seconds(), Clients: s.o.clients, Doors: s.doors, Requests: s.requests, Faults: s.faults,
		Restarts: len(s.agent.gaps)}
	var events []event.Event
	for _, file := range s.agent.events {
		if err := readLines(file, &events); err != nil {
			return nil, err
		}
	}
	var audit []auditEntry
	if err := readLines(s.service.AuditFile(), &audit); err != nil {
		return nil, err
	}
	s.compare(r, events, audit)
	s.flat(r)
	if r.Restarts < 2 {
		s.problem("the run was too short: the agent was started anew %d times", r.Restarts)
	}
	r.Problems = append([]string{}, s.problems...)
	return r, nil
}

// auditEntry is a line of the service's list.
type auditEntry struct {
	Time time.Time `json:"time"`
	ID   string    `json:"signingRequestId"`
	Hash []byte    `json:"hash"`
}

func (s *soak) compare(r *report, events []event.Event, audit []auditEntry) {
	recorded := map[string]bool{} // by id
	known := map[string]bool{}    // digests that any event names
	signed := map[string]bool{}   // digests of signatures
	gpg := 0
	for _, e := range events {
		known[e.Digest] = true
		if e.Failed() {
			r.Failures++
			continue
		}
		if recorded[e.RequestID] {
			s.problem("the signing request %s is recorded twice", e.RequestID)
		}
		recorded[e.RequestID], signed[e.Digest] = true, true
		if e.Key == keyGPG {
			gpg++
		}
	}
	r.Recorded, r.Audited = len(recorded), len(audit)
	listed := 0
	for _, a := range audit {
		switch {
		case recorded[a.ID]:
			listed++
		case known[hex.EncodeToString(a.Hash)]:
			r.Repeated++
		case s.agent.beforeKill(a.Time):
			r.Killed++
		default:
			s.problem("the service has signed %x at %s, and no event names it", a.Hash, a.Time.Format(time.TimeOnly))
		}
	}
	if listed != len(recorded) {
		s.problem("%d signatures are recorded, and the service has made %d of them", len(recorded), listed)
	}
	if r.Killed > agentParallel {
		s.problem("%d signatures of the service are not recorded: more than a killed agent had asked for", r.Killed)
	}
	for digest, door := range s.made {
		if !signed[digest] {
			s.problem("%s: the signature of %s is not recorded", door, digest)
		}
	}
	if d := s.doors["gpg"]; d != nil && (gpg < d.Signed || gpg > d.Signed+d.Failed) {
		s.problem("gpg has signed %d times and failed %d times, and %d signatures are recorded", d.Signed, d.Failed, gpg)
	}
}

// What an agent may use more at the end than at the start: what depends on how many clients happen to sign at this moment.
const (
	moreMiB         = 8
	moreDescriptors = 16
	moreThreads     = 8
)

// flat compares medians of the times at the start, in the middle and at the end in which the last agent served.
func (s *soak) flat(r *report) {
	from := flatFrom * s.o.duration.Seconds()
	list := slices.DeleteFunc(slices.Clone(s.samples), func(x sample) bool { return x.At < from })
	if len(list) < 9 {
		s.problem("too few samples of the agent: %d", len(list))
		return
	}
	part := len(list) / 5
	r.Start, r.Middle, r.End = median(list[:part]), median(list[2*part:3*part]), median(list[len(list)-part:])
	if r.End.MiB > r.Start.MiB+moreMiB {
		s.problem("the agent's memory grows: from %.1f to %.1f MiB", r.Start.MiB, r.End.MiB)
	}
	if r.End.Descriptors > r.Start.Descriptors+moreDescriptors {
		s.problem("the agent's descriptors grow: from %d to %d", r.Start.Descriptors, r.End.Descriptors)
	}
	if r.End.Threads > r.Start.Threads+moreThreads {
		s.problem("the agent's threads grow: from %d to %d", r.Start.Threads, r.End.Threads)
	}
}

func median(list []sample) sample {
	return sample{middle(list, func(s sample) float64 { return s.At }), middle(list, func(s sample) float64 { return s.MiB }),
		middle(list, func(s sample) int { return s.Descriptors }), middle(list, func(s sample) int { return s.Threads })}
}

func middle[T float64 | int](list []sample, of func(sample) T) T {
	var values []T
	for _, s := range list {
		values = append(values, of(s))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

func readLines[T any](file string, into *[]T) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var one T
		if err := json.Unmarshal(lines.Bytes(), &one); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(file), err)
		}
		*into = append(*into, one)
	}
	return lines.Err()
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "%-16s %9s %9s %9s\n", "way", "signed", "failed", "recovered")
	for _, name := range slices.Sorted(maps.Keys(r.Doors)) {
		d := r.Doors[name]
		fmt.Fprintf(w, "%-16s %9d %9d %9d\n", name, d.Signed, d.Failed, d.Recovered)
	}
	fmt.Fprintf(w, "\n%-16s %9s %9s %9s\n", "agent", "start", "middle", "end")
	fmt.Fprintf(w, "%-16s %9.0f %9.0f %9.0f\n", "second", r.Start.At, r.Middle.At, r.End.At)
	fmt.Fprintf(w, "%-16s %9.1f %9.1f %9.1f\n", "memory, MiB", r.Start.MiB, r.Middle.MiB, r.End.MiB)
	fmt.Fprintf(w, "%-16s %9d %9d %9d\n", "descriptors", r.Start.Descriptors, r.Middle.Descriptors, r.End.Descriptors)
	fmt.Fprintf(w, "%-16s %9d %9d %9d\n", "threads", r.Start.Threads, r.Middle.Threads, r.End.Threads)
	fmt.Fprintf(w, "\n%d clients, %.0f s, %d restarts; %d requests, %d of them failed on purpose\n", r.Clients, r.Seconds, r.Restarts, r.Requests, r.Faults)
	fmt.Fprintf(w, "recorded %d signatures and %d failures; the service's list has %d: %d repeated after a lost answer, %d of the killed agent\n",
		r.Recorded, r.Failures, r.Audited, r.Repeated, r.Killed)
	if len(r.Problems) == 0 {
		fmt.Fprintln(w, "nothing is wrong")
	}
	for _, problem := range r.Problems {
		fmt.Fprintln(w, "PROBLEM", problem)
	}
}

func (r *report) write(file string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
