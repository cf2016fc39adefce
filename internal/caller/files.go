package caller

import (
	"context"
	"os"
	"strings"
	"time"
)

// patience is how long a process's files are looked for, in all. They may lie on a file
// system of the network that does not answer, and a signature must not wait for that.
const patience = 500 * time.Millisecond

// fileLookup answers which names are those of files, until ctx ends.
type fileLookup struct {
	ctx     context.Context
	folder  string                 // relative names are looked for here
	regular func(path string) bool // is a regular file
}

func (l fileLookup) isFile(name string) bool {
	if l.ctx.Err() != nil {
		return false
	}
	if !strings.HasPrefix(name, "/") {
		name = l.folder + "/" + name
	}
	answer := make(chan bool, 1)
	go func() { answer <- l.regular(name) }()
	select {
	case is := <-answer:
		return is
	case <-l.ctx.Done():
		return false
	}
}

func isRegular(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
