package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/internal/caller"
	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/logging"
)

// TestTheLogIsWhereTheSettingsWantIt with the level that they name.
func TestTheLogIsWhereTheSettingsWantIt(t *testing.T) {
	dir := t.TempDir()
	cfg, err := config.Load([]string{"SIGNPATH_LOG_FILE_DIRECTORY=" + dir}, "/")
	if err != nil {
		t.Fatal(err)
	}
	logger, closer := newLogger(cfg, new(logging.Redactor), nil)
	logger.Info("signed")
	logger.Warn("slow")
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "SignPath.CryptoProviders.Cryptoki.txt"))
	if err != nil || strings.Contains(string(data), "signed") || !strings.Contains(string(data), "slow") {
		t.Errorf("%v: %s", err, data)
	}
}

func TestEventsTellTheHost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	record := ofCaller(event.Append(path, 0, slog.New(slog.DiscardHandler)), func() caller.Process {
		return caller.Process{PID: 7, CommandLine: "openssl dgst"}
	})
	record(event.Begin("demo/a", []byte{1, 2}, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)))
	data, err := os.ReadFile(path)
	want := `{"time":"2026-01-01T00:00:00Z","key":"demo/a","digest":"0102","caller":{"pid":7,"commandLine":"openssl dgst"},"seconds":0}` + "\n"
	if err != nil || string(data) != want {
		t.Errorf("%v: %s", err, data)
	}
	if ofCaller(event.Append("", 0, nil), nil) != nil {
		t.Error("there is a recorder for nobody")
	}
}
