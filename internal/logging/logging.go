// Package logging builds the program's logger: a log/slog handler with two sinks, one
// line per record on the console and in a file that many processes share.
//
// Logging never makes a signature fail: a full disk, a directory that vanished or a
// console nobody reads costs records, not the work.
package logging

import (
	"io"
	"log/slog"
)

// Options says where records go. The zero value discards them all.
type Options struct {
	ConsoleLevel  Level     // threshold of the console
	Console       io.Writer // one Write per record; nil: no console
	FileLevel     Level     // threshold of the file
	FileDirectory string    // created when missing; empty: no file
	Interface     string    // part of the file's name: SignPath.CryptoProviders.<Interface>.txt
	Redactor      *Redactor // applied to every record; may be nil
}

// New returns the logger and what closes its file. A record is fully written when the
// logging call returns.
//
// An error means that the file cannot be used, with the reason; logger and closer work
// nevertheless, for the console alone. New does not close Options.Console.
func New(o Options) (*slog.Logger, io.Closer, error) {
	h := &handler{out: &sinks{redactor: o.Redactor}}
	if o.Console != nil {
		h.out.console, h.out.consoleLevel = o.Console, o.ConsoleLevel
	}
	if o.FileDirectory == "" || o.FileLevel == None {
		return slog.New(h), h.out, nil
	}
	file, err := openFile(o.FileDirectory, o.Interface)
	if err != nil {
		return slog.New(h), h.out, err
	}
	h.out.file, h.out.fileLevel = file, o.FileLevel
	return slog.New(h), h.out, nil
}
