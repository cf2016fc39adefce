package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"signkit/internal/config"
	"signkit/internal/logging"
)

const (
	// logInterface is part of the log file's name: SignPath.CryptoProviders.Cryptoki.txt.
	logInterface = "Cryptoki"
	// logAlias is the name under which scripts look for a card daemon's log.
	logAlias = "gnupg-pkcs11-scd.log"
)

// newLogger logs into the GNUPGHOME, where the tools that call gpg find the
// reason of a failure, into the folder that the settings name, which may
// outlive the GNUPGHOME, and into the one that signkit sign reads. There is no
// console: gpg-agent owns it or nobody.
func newLogger(cfg *config.Config, home string, redactor *logging.Redactor) (*slog.Logger, func()) {
	var handlers []slog.Handler
	var closers []io.Closer
	var problems error
	for folder, level := range logFolders(cfg, home) {
		logger, closer, err := logging.New(logging.Options{
			FileLevel: level, FileDirectory: folder, Interface: logInterface, Redactor: redactor})
		problems = errors.Join(problems, err)
		handlers, closers = append(handlers, logger.Handler()), append(closers, closer)
	}
	logger := slog.New(slog.NewMultiHandler(handlers...))
	if problems != nil {
		logger.Error("a log file cannot be written", "error", problems)
	}
	return logger, func() {
		for _, closer := range closers {
			_ = closer.Close()
		}
	}
}

// logFolders leaves out a GNUPGHOME that does not exist: it is not ours to make.
func logFolders(cfg *config.Config, home string) map[string]logging.Level {
	folders := map[string]logging.Level{}
	if info, err := os.Stat(home); err == nil && info.IsDir() {
		folders[home] = cfg.Log.FileLevel
		if cfg.Log.FileLevel != logging.None {
			_ = os.Symlink("SignPath.CryptoProviders."+logInterface+".txt", filepath.Join(home, logAlias))
		}
	}
	if folder := cfg.Log.FileDirectory; folder != "" {
		folders[folder] = cfg.Log.FileLevel
	}
	if folder := cfg.Log.RecordDirectory; folder != "" {
		folders[folder] = logging.Info
	}
	return folders
}
