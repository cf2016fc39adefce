package assuan

import (
	"errors"
	"fmt"
)

// Code is an error code of libgpg-error, without the number of its source. It
// is all that a person gets to see of an ERR line: GnuPG shows its own text for
// the code and drops the rest of the line.
type Code int

// The codes in use, with libgpg-error's names and texts.
const (
	General           Code = 1
	DigestAlgorithm   Code = 5
	BadSignature      Code = 8
	NoSecretKey       Code = 17
	NotFound          Code = 27
	Network           Code = 48
	UnknownHost       Code = 49
	NoData            Code = 58
	NotSupported      Code = 60
	Timeout           Code = 62
	InvalidData       Code = 79
	Canceled          Code = 99
	NotConfirmed      Code = 114
	Configuration     Code = 115
	WrongKeyUsage     Code = 125
	NotOperational    Code = 176
	ServerFailed      Code = 219
	Forbidden         Code = 251
	LineTooLong       Code = 263
	TooMuchData       Code = 273
	UnknownCommand    Code = 275
	Parameter         Code = 280
	TryLater          Code = 312
	BadAuth           Code = 315
	ConnectionRefused Code = 32793
	Unreachable       Code = 32842
)

// source is "SCD", the smart-card daemon, in the upper byte of the number
// (libgpg-error, gpg-error.h: gpg_err_make).
const source = 6 << 24

var texts = map[Code]string{
	General: "General error", DigestAlgorithm: "Invalid digest algorithm", BadSignature: "Bad signature",
	NoSecretKey: "No secret key", NotFound: "Not found", Network: "Network error", UnknownHost: "Unknown host",
	NoData: "No data", NotSupported: "Not supported", Timeout: "Timeout", InvalidData: "Invalid data",
	Canceled: "Operation cancelled", NotConfirmed: "Not confirmed", Configuration: "Configuration error",
	WrongKeyUsage: "Wrong key usage", NotOperational: "Not operational", ServerFailed: "Server indicated a failure",
	Forbidden: "Forbidden", LineTooLong: "IPC line too long", TooMuchData: "Too much data for IPC layer",
	UnknownCommand: "Unknown IPC command", Parameter: "IPC parameter error", TryLater: "Try again later",
	BadAuth: "Bad authentication", ConnectionRefused: "Connection refused", Unreachable: "Network is unreachable",
}

// Error returns the text that GnuPG shows for the code in English.
func (c Code) Error() string {
	if text, ok := texts[c]; ok {
		return text
	}
	return fmt.Sprintf("error %d", int(c))
}

// Number is what an ERR line carries: the code and its source.
func (c Code) Number() int { return source | int(c) }

// Error is a failure that knows its code.
type Error struct {
	Code Code
	Err  error
}

// Errorf makes an Error; its text is for logs only.
func Errorf(code Code, format string, args ...any) error {
	return &Error{code, fmt.Errorf(format, args...)}
}

// Error is the text of the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// codeOf finds the code in an error; General where there is none.
func codeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	if code, ok := errors.AsType[Code](err); ok {
		return code
	}
	return General
}

// What a command returns, instead of an error, to say what comes after its OK.
var (
	// ErrBye ends the connection.
	ErrBye = errors.New("the client leaves")
	// ErrStop ends the server with all its connections.
	ErrStop = errors.New("the server was told to stop")
)
