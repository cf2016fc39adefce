package logging

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

const (
	writers       = 8
	linesEach     = 20000
	testRotateAt  = 2500 << 10 // all lines fit into the file and its old copies
	writerEnv     = "LOGGING_TEST_WRITER"
	directoryEnv  = "LOGGING_TEST_DIRECTORY"
	logFile       = "SignPath.CryptoProviders.Cryptoki.txt"
	writerMessage = "line"
)

// TestMain runs one writer instead of the tests when the test binary started itself.
func TestMain(m *testing.M) {
	if number := os.Getenv(writerEnv); number != "" {
		if err := runWriter(number, os.Getenv(directoryEnv)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func runWriter(number, directory string) error {
	var console bytes.Buffer
	logger, closer, err := New(Options{FileLevel: Verbose, FileDirectory: directory, Interface: "Cryptoki",
		ConsoleLevel: Error, Console: &console})
	if err != nil {
		return err
	}
	closer.(*sinks).file.limit = testRotateAt
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil { // all writers begin at the same time
		return err
	}
	for n := range linesEach {
		logger.Info(writerMessage, "w", number, "n", n, "end", "END")
	}
	if console.Len() > 0 {
		return fmt.Errorf("console: %s", &console)
	}
	return closer.Close()
}

func TestManyProcessesWriteAndRotate(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*patience)
	defer cancel()
	directory := t.TempDir()
	gate, open, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var running []*exec.Cmd
	for i := range writers {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", writerEnv, i), directoryEnv+"="+directory)
		cmd.Stdin, cmd.Stderr = gate, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	gate.Close()
	open.Close()
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Errorf("writer: %v", err)
		}
	}
	next, files := countLines(t, directory)
	for w, n := range next {
		if n != linesEach {
			t.Errorf("writer %d: %d lines of %d", w, n, linesEach)
		}
	}
	if files < 4 {
		t.Errorf("%d files: it was not rotated often enough to prove anything", files)
	}
}

// countLines reads the files from the oldest on, and checks each line and the order of each writer.
func countLines(t *testing.T, directory string) (next [writers]int, files int) {
	t.Helper()
	for _, suffix := range []string{".5", ".4", ".3", ".2", ".1", ""} {
		data, err := os.ReadFile(filepath.Join(directory, logFile+suffix))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		files++
		if len(data) > testRotateAt+64<<10 {
			t.Errorf("%s has %d bytes", logFile+suffix, len(data))
		}
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if len(fields) != 7 || fields[1] != "info" || fields[3] != writerMessage || fields[6] != "end=END" || !strings.HasSuffix(line, "END\n") {
				t.Fatalf("torn line in %q: %q", suffix, line)
			}
			w, _ := strconv.Atoi(strings.TrimPrefix(fields[4], "w="))
			if fields[5] != fmt.Sprintf("n=%d", next[w]) {
				t.Fatalf("writer %d: %s where %d was expected", w, fields[5], next[w])
			}
			next[w]++
		}
	}
	return next, files
}

// fileLogger returns a logger to a file and an error console, and the file's name.
func fileLogger(t *testing.T, directory string) (*slog.Logger, *rotatingFile, *bytes.Buffer) {
	t.Helper()
	console := new(bytes.Buffer)
	logger, closer, err := New(Options{FileLevel: Info, FileDirectory: directory, Interface: "Cryptoki", ConsoleLevel: Error, Console: console})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closer.Close() })
	return logger, closer.(*sinks).file, console
}

func TestFiveOldCopiesAreKept(t *testing.T) {
	directory := t.TempDir()
	logger, file, _ := fileLogger(t, directory)
	file.limit = 1 // each record its own file
	for n := range 10 {
		logger.Info("record", "n", n)
	}
	for i, suffix := range []string{"", ".1", ".2", ".3", ".4", ".5"} {
		data, err := os.ReadFile(file.path + suffix)
		if want := fmt.Sprintf("record n=%d\n", 9-i); err != nil || !strings.HasSuffix(string(data), want) {
			t.Errorf("%q: %q, %v; want %q", suffix, data, err, want)
		}
	}
	if _, err := os.Stat(file.path + ".6"); !os.IsNotExist(err) {
		t.Errorf("a sixth copy: %v", err)
	}
}

func TestTheFileIsRotatedAtTenMegabytes(t *testing.T) {
	directory := t.TempDir()
	logger, file, _ := fileLogger(t, directory)
	if err := os.Truncate(file.path, 10<<20-100); err != nil {
		t.Fatal(err)
	}
	logger.Info("fits")
	if _, err := os.Stat(file.path + ".1"); !os.IsNotExist(err) {
		t.Fatalf("rotated too early: %v", err)
	}
	logger.Info(strings.Repeat("x", 100))
	if info, err := os.Stat(file.path); err != nil || info.Size() > 200 {
		t.Errorf("not rotated: %v %v", info, err)
	}
}

func TestTheFileIsPrivate(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "new", "directory")
	logger, file, _ := fileLogger(t, directory)
	file.limit = 1
	logger.Info("a")
	logger.Info("b")
	for _, name := range []string{file.path, file.path + ".1", file.path + ".lock"} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

func TestOnlyARegularFileIsWritten(t *testing.T) {
	makers := map[string]func(name string) error{
		"symbolic link": func(name string) error { return os.Symlink(name+".target", name) },
		"dangling link to a file": func(name string) error {
			return os.Symlink("/dev/null", name)
		},
		"named pipe": func(name string) error { return syscall.Mkfifo(name, 0o600) },
		"directory":  func(name string) error { return os.Mkdir(name, 0o700) },
	}
	for kind, make := range makers {
		directory := t.TempDir()
		if err := make(filepath.Join(directory, logFile)); err != nil {
			t.Fatal(err)
		}
		var console bytes.Buffer
		logger, closer, err := New(Options{FileLevel: Info, FileDirectory: directory, Interface: "Cryptoki", ConsoleLevel: Info, Console: &console})
		if err == nil || !strings.Contains(err.Error(), directory) {
			t.Errorf("%s: error %v", kind, err)
		}
		logger.Info("still here")
		if got := console.String(); got != "signkit: info: still here\n" {
			t.Errorf("%s: console %q", kind, got)
		}
		if err := closer.Close(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := os.Stat(filepath.Join(directory, logFile+".target")); err == nil {
			t.Errorf("%s: it was followed", kind)
		}
	}
}

func TestALinkThatAppearsLaterIsNotFollowed(t *testing.T) {
	directory := t.TempDir()
	logger, file, console := fileLogger(t, directory)
	target := filepath.Join(directory, "target")
	if err := os.Remove(file.path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, file.path); err != nil {
		t.Fatal(err)
	}
	logger.Info("secret record")
	logger.Info("and another")
	if _, err := os.Stat(target); err == nil {
		t.Error("the link was followed")
	}
	if got := console.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "symbolic link") {
		t.Errorf("console %q, want one record", got)
	}
	if err := os.Remove(file.path); err != nil {
		t.Fatal(err)
	}
	logger.Info("back again")
	if data, err := os.ReadFile(file.path); err != nil || !strings.HasSuffix(string(data), "back again\n") {
		t.Errorf("after the link is gone: %q, %v", data, err)
	}
}

func TestAFileRemovedOrMovedByOthersIsLeft(t *testing.T) {
	logger, file, _ := fileLogger(t, t.TempDir())
	logger.Info("one")
	if err := os.Rename(file.path, file.path+".moved"); err != nil {
		t.Fatal(err)
	}
	logger.Info("two")
	if data, _ := os.ReadFile(file.path); strings.Contains(string(data), "one") || !strings.Contains(string(data), "two") {
		t.Errorf("new file: %q", data)
	}
}

func TestARecordForAnUnlinkedFileIsWrittenAgain(t *testing.T) {
	_, file, _ := fileLogger(t, t.TempDir())
	if err := os.Remove(file.path); err != nil { // between the look and the write
		t.Fatal(err)
	}
	if err := file.appendNamed([]byte("record\n")); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(file.path); string(data) != "record\n" {
		t.Errorf("got %q, %v", data, err)
	}
}

func TestAFullDiskIsReportedOnce(t *testing.T) {
	logger, file, console := fileLogger(t, t.TempDir())
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("no /dev/full: %v", err)
	}
	// The named file is the device for the comparison of inodes, so that it is kept.
	file.file.Close()
	file.file, file.path = full, "/dev/full"
	logger.Info("lost")
	logger.Info("lost")
	if got := console.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "no space left on device") {
		t.Errorf("console %q, want one record", got)
	}
}

func TestAFileThatCannotBeRotatedGoesOnGrowing(t *testing.T) {
	logger, file, console := fileLogger(t, t.TempDir())
	file.limit = 1
	if err := os.MkdirAll(filepath.Join(file.path+".1", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(file.path+".2", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file.path+".3", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(file.path+".5", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file.path+".4", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		logger.Info("record", "n", n)
	}
	data, err := os.ReadFile(file.path)
	if err != nil || strings.Count(string(data), "\n") != 3 {
		t.Errorf("got %q, %v", data, err)
	}
	if got := console.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "rotating") {
		t.Errorf("console %q, want one record", got)
	}
}

func TestALockHeldByAnotherDoesNotDelayARecord(t *testing.T) {
	logger, file, console := fileLogger(t, t.TempDir())
	file.limit = 1
	lock, err := os.OpenFile(file.path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	logger.Info("one")
	logger.Info("two")
	if data, err := os.ReadFile(file.path); strings.Count(string(data), "\n") != 2 || console.Len() > 0 {
		t.Errorf("got %q, %v, console %q", data, err, console)
	}
}

func TestAPartlyWrittenRecordDoesNotSpoilTheNext(t *testing.T) {
	_, file, _ := fileLogger(t, t.TempDir())
	file.torn = true
	if err := file.write([]byte("next\n")); err != nil {
		t.Fatal(err)
	}
	if data, _ := os.ReadFile(file.path); string(data) != "\nnext\n" || file.torn {
		t.Errorf("got %q", data)
	}
}
