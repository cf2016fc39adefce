package cli

import (
	"os"
	"path/filepath"
)

// libraryDirectory is where packages and images put the module and the programs beside it.
const libraryDirectory = "/usr/lib/signkit"

// installed finds one of our own files: beside this program (a build folder), in
// ../lib/signkit (a prefix of one's own), or where packages put it. PATH is not asked: gpg-agent
// and PKCS#11 tools want a path, and must not get another file of that name.
func installed(name string) (path string, ok bool) {
	var places []string
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		dir := filepath.Dir(self)
		places = append(places, dir, filepath.Join(filepath.Dir(dir), "lib", "signkit"))
	}
	for _, dir := range append(places, libraryDirectory) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, true
		}
	}
	return filepath.Join(libraryDirectory, name), false
}
