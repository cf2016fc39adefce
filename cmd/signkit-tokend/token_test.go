package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signkit/internal/config"
	"signkit/internal/logging"
)

const logFile = "SignPath.CryptoProviders.Cryptoki.txt"

// TestRecordsOfSignkitSignLeaveTheUsersLogAlone: each goes where it is asked for, with the levels that are asked for.
func TestRecordsOfSignkitSignLeaveTheUsersLogAlone(t *testing.T) {
	for name, test := range map[string]struct {
		variable, json string // folder of the log, as the settings name it; "" is not at all
		used           string // the one that counts
	}{
		"no log":                   {"", "", ""},
		"log of the environment":   {"env", "", "env"},
		"log of the settings file": {"", "json", "json"},
		"both":                     {"env", "json", "env"},
	} {
		for _, records := range []bool{false, true} {
			dir := t.TempDir()
			var environ []string
			if test.variable != "" {
				environ = append(environ, "SIGNPATH_LOG_FILE_DIRECTORY="+filepath.Join(dir, test.variable))
			}
			if test.json != "" {
				file := filepath.Join(dir, "signkit.json")
				text := `{"Log":{"File":{"Directory":"` + filepath.Join(dir, test.json) + `"}}}`
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				environ = append(environ, "SIGNPATH_CONFIG_FILE="+file)
			}
			if records {
				environ = append(environ, config.RecordDirectoryVariable+"="+filepath.Join(dir, "records"))
			}
			logAll(t, environ)
			want := map[string]string{}
			if test.used != "" {
				want[test.used] = "warning: slow, error: refused"
			}
			if records {
				want["records"] = "info: signed, warning: slow, error: refused"
			}
			for _, folder := range []string{"env", "json", "records"} {
				if got := recordsIn(filepath.Join(dir, folder)); got != want[folder] {
					t.Errorf("%s, records %v: %q in %s, want %q", name, records, got, folder, want[folder])
				}
			}
		}
	}
}

// logAll logs one record of each level, with the settings of an environment.
func logAll(t *testing.T, environ []string) {
	t.Helper()
	cfg, err := config.Load(environ, "/")
	if err != nil || len(cfg.Warnings()) > 0 {
		t.Fatal(err, cfg.Warnings())
	}
	logger, closer := newLogger(cfg, new(logging.Redactor), nil)
	logger.Debug("asked")
	logger.Info("signed")
	logger.Warn("slow")
	logger.Error("refused")
	if err := closer.Close(); err != nil {
		t.Error(err)
	}
}

// recordsIn gives levels and texts of a log file; "" where there is none.
func recordsIn(folder string) string {
	data, _ := os.ReadFile(filepath.Join(folder, logFile))
	var list []string
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line) // time, level, process, text
		list = append(list, fields[1]+": "+fields[3])
	}
	return strings.Join(list, ", ")
}
