// Package doctor examines an installation: settings, the way to the service, credentials,
// keys, tools, and the surroundings that break signing in ways no error message names. It
// changes nothing, and makes no signature unless asked to.
package doctor

import (
	"context"

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
	Skipped State = "skipped" // could not be checked: Text says why
)

// Finding is the result of one check.
type Finding struct {
	Area    string `json:"area"`    // settings, service, keys, pkcs11, gpg, tools, machine
	Subject string `json:"subject"` // what was looked at
	State   State  `json:"state"`
	Text    string `json:"text"`          // what was found
	Fix     string `json:"fix,omitempty"` // what to do; set for warnings and problems
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
		e.settings, e.service, e.credentials, e.keyQuality, e.testSignatures,
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
	e.show(Finding{Area: area, Subject: subject, State: Problem, Text: text, Fix: fix})
}
