// Package images is the list of container images, matrix.json, for the scripts that build them and the tests that run in them.
package images

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed matrix.json
var matrixJSON []byte

// Variant says how much is in an image; each has all of the one before.
type Variant string

// The variants, from the smallest on.
const (
	Core Variant = "core" // openssl and other users of the PKCS#11 module, gpg with its bridge
	Full Variant = "full" // and the tools that sign packages, repositories, Windows programs
	Java Variant = "java" // and a JDK with Maven
)

// Variants lists them in that order.
var Variants = []Variant{Core, Full, Java}

// Image is one release of a distribution.
type Image struct {
	Name   string `json:"name"`   // the tag of its full variant
	Family string `json:"family"` // the folder of its Dockerfile under images/
	Base   string `json:"base"`   // the official base image

	// Versions are those that decide what runs there: glibc, gnupg and rpm as the release has them, openssl by its series (1.1.1, 3.0).
	Versions map[string]string `json:"versions"`
	// NotYet says why nothing of it is built at all; empty where it is.
	NotYet string `json:"not_yet"`
	// Frozen: security support has ended; packages come as the mirrors still have them.
	Frozen bool `json:"frozen"`
	// ReadWriteSessions: its tools open PKCS#11 sessions for writing, so its images tolerate that.
	ReadWriteSessions bool `json:"read_write_sessions"`
	// RPMECDSA: its rpm checks ECDSA signatures; others know RSA (and DSA) only.
	RPMECDSA bool `json:"rpm_ecdsa"`
	// OpenSSL lists the ways into openssl that its packages offer: engine, provider.
	OpenSSL []string `json:"openssl"`

	// Pins are PACKAGE/SUITE words: packages that come from a suite of their own.
	Pins     string             `json:"pins"`
	Packages map[Variant]string `json:"packages"`  // what each variant adds, separated by spaces
	BudgetMB map[Variant]int    `json:"budget_mb"` // how much each may be larger than the base

	Scenarios map[Variant][]string `json:"scenarios"` // folders of samples/, under the smallest variant that has their tools
	Without   map[string]string    `json:"without"`   // and why the others cannot run
}

// All reads the list.
func All() ([]Image, error) {
	var list []Image
	d := json.NewDecoder(bytes.NewReader(matrixJSON))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("images/matrix.json: %w", err)
	}
	return list, nil
}

// Tag is the part after "signkit:".
func (i Image) Tag(v Variant) string {
	if v == Full {
		return i.Name
	}
	return i.Name + "-" + string(v)
}

// Installs reports whether the package is one that the images name.
func (i Image) Installs(name string) bool {
	for _, packages := range i.Packages {
		if slices.Contains(strings.Fields(packages), name) {
			return true
		}
	}
	return false
}

// Variant is the smallest one that can run a scenario; false if none can.
func (i Image) Variant(scenario string) (Variant, bool) {
	for _, v := range Variants {
		if slices.Contains(i.Scenarios[v], scenario) {
			return v, true
		}
	}
	return "", false
}
