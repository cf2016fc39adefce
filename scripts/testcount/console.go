package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// console takes output, and on a terminal shows one line more below it, the status.
type console struct {
	out   io.Writer
	width func() int // of the terminal; 0 where there is none

	mu    sync.Mutex
	shown bool // a status is below the output
	open  bool // the output's last line has no end yet
}

func newConsole(out *os.File) *console {
	return &console{out: out, width: func() int {
		size, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ)
		if err != nil || os.Getenv("TERM") == "dumb" {
			return 0
		}
		return int(size.Col)
	}}
}

// terminal reports whether a status can be shown.
func (c *console) terminal() bool { return c.width() > 0 }

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	c.clear()
	c.open = p[len(p)-1] != '\n'
	return c.out.Write(p)
}

// status replaces the status, cut to the terminal's width. An empty one takes it away.
func (c *console) status(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	width := c.width()
	if width == 0 || c.open {
		return
	}
	c.clear()
	for utf8.RuneCountInString(text) >= width { // the last column would begin a new line
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	if text != "" {
		fmt.Fprint(c.out, text)
		c.shown = true
	}
}

func (c *console) clear() {
	if c.shown {
		fmt.Fprint(c.out, "\r\x1b[K")
		c.shown = false
	}
}
