// Package version holds the version that every program of this build reports.
package version

// Version is the release, for example "0.1.0". The linker sets it
// (-X signkit/internal/version.Version=…); a plain "go build" leaves "dev".
var Version = "dev"
