package caller

import (
	"context"
	"testing"
	"time"
)

// TestAFileSystemThatHangsIsNotWaitedFor: what was asked before its time is over is no file, and nothing more is asked.
func TestAFileSystemThatHangsIsNotWaitedFor(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	asked := make(chan string, 10)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	l := fileLookup{ctx: ctx, folder: "/cwd", regular: func(path string) bool {
		asked <- path
		<-hang
		return true
	}}
	if l.isFile("a.txt") || l.isFile("/b.txt") {
		t.Error("a file that was not found in time is shown")
	}
	if n := len(asked); n > 1 {
		t.Errorf("%d files were looked for behind one that hangs", n)
	}
}
