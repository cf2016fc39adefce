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
// reason of a failure, and into the folder that the settings name, which may
// outlive the GNUPGHOME. There is no console: gpg-agent owns it or nobody.
func newLogger(cfg *config.Config, home string, redactor *logging.Redactor) (*slog.Logger, func()) {
	var handlers []slog.Handler
	var closers []io.Closer
	var problems error
	for _, folder := range logFolders(cfg, home) {
		logger, closer, err := logging.New(logging.Options{
			FileLevel: cfg.Log.FileLevel, FileDirectory: folder, Interface: logInterface, Redactor: redactor})
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
func logFolders(cfg *config.Config, home string) []string {
	var folders []string
	if info, err := os.Stat(home); err == nil && info.IsDir() {
		folders = append(folders, home)
		if cfg.Log.FileLevel != logging.None {
			_ = os.Symlink("SignPath.CryptoProviders."+logInterface+".txt", filepath.Join(home, logAlias))
		}
	}
	if folder := cfg.Log.FileDirectory; folder != "" && folder != home {
		folders = append(folders, folder)
	}
	return folders
}
