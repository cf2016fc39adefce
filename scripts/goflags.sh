# shellcheck shell=bash
# Sourced by what calls go, directly or in a program of its own. All compile alike, so that one build cache serves all of them.
# Of the standard library nothing needs C: names and users are looked up in Go, in tests as in what is shipped.
GOFLAGS="$(go env GOFLAGS) -trimpath -tags=netgo,osusergo"
export GOFLAGS
