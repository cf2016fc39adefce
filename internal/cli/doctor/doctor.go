// Package doctor examines an installation: settings, the way to the service, credentials,
// keys, tools, and the surroundings that break signing in ways no error message names. It
// changes nothing, and makes no signature unless asked to.
package doctor

import (
	"context"
	"slices"

	"signkit/internal/config"
	"signkit/internal/signpath"
)

// State says how a check ended.
type State string

// The ends of a check. Only a Problem keeps something from working.
const (
	OK      State = "ok"
	Warning State = "warning"
	Problem State = "problem"
	Note    State = "note"    // it would be a problem for something else than the key that was asked about
	Skipped State = "skipped" // could not be checked: Text says why
)

// Finding is the result of one check.
type Finding struct {
	Area    string `json:"area"`    // settings, agent, service, keys, pkcs11, gpg, tools, machine
	Subject string `json:"subject"` // what was looked at
	State   State  `json:"state"`
	Text    string `json:"text"`          // what was found
	Fix     string `json:"fix,omitempty"` // what to do; set for warnings, problems and notes
}

// Patient is what is examined. Settings errors and missing parts are findings, so every field
// may be empty.
type Patient struct {
	Environ     []string
	Config      *config.Config
	ConfigError error
	Client      *signpath.Client // nil: settings do not allow one
	ClientError error

	Project, Policy string // narrow the keys that are looked at; both empty: all
	Named           bool   // they are the key that was asked about, and nothing else matters
	Sign            bool   // make one test signature with each

	Module, Bridge string // paths; empty: not installed
}

// examination is one run.
type examination struct {
	Patient
	show      func(Finding)
	reachable bool // the service answered
	keys      []*signpath.Key
}

// Examine runs every check, in the order in which causes come before effects, and passes each
// finding to show as it is made.
func Examine(ctx context.Context, p Patient, show func(Finding)) {
	e := &examination{Patient: p, show: show}
	for _, check := range []func(context.Context){
		e.settings, e.jobAgent, e.service, e.credentials, e.keyQuality, e.testSignatures,
		e.module, e.openssl, e.readWriteTools,
		e.bridge, e.gnupgHome, e.gpgPrograms,
		e.toolVersions, e.reaping, e.temporaryFolder,
	} {
		if ctx.Err() != nil {
			return
		}
		check(ctx)
	}
}

func (e *examination) ok(area, subject, text string) {
	e.show(Finding{Area: area, Subject: subject, State: OK, Text: text})
}

func (e *examination) skip(area, subject, reason string) {
	e.show(Finding{Area: area, Subject: subject, State: Skipped, Text: reason})
}

func (e *examination) warn(area, subject, text, fix string) {
	e.show(Finding{Area: area, Subject: subject, State: Warning, Text: text, Fix: fix})
}

func (e *examination) problem(area, subject, text, fix string) {
	state := Problem
	if !e.asked(area) {
		state = Note
	}
	e.show(Finding{Area: area, Subject: subject, State: state, Text: text, Fix: fix})
}

// asked reports whether a problem in this area is one of what was asked about. A key signs whatever other tools are
// installed, and one with a certificate signs without gpg.
func (e *examination) asked(area string) bool {
	switch {
	case !e.Named:
		return true
	case area == "tools":
		return false
	case area == "gpg" && len(e.keys) > 0:
		return slices.ContainsFunc(e.keys, (*signpath.Key).IsGPG)
	}
	return true
}
