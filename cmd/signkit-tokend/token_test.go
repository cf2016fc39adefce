package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"signkit/internal/config"
	"signkit/internal/logging"
)

// TestTheLogIsWhereTheSettingsWantIt with the level that they name.
func TestTheLogIsWhereTheSettingsWantIt(t *testing.T) {
	dir := t.TempDir()
	cfg, err := config.Load([]string{"SIGNPATH_LOG_FILE_DIRECTORY=" + dir}, "/")
	if err != nil {
		t.Fatal(err)
	}
	logger, closer, err := newLogger(cfg, new(logging.Redactor), nil)
	if err != nil {
		t.Fatal(err)
	}
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
