package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	gnupghome "signkit/gpgagent/home"
	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/logging"
)

const (
	// logInterface is part of the log file's name. It is not the module's: both may log into one folder.
	logInterface = "GnuPG"
	// logAlias is the name under which scripts look for a card daemon's log.
	logAlias = "gnupg-pkcs11-scd.log"
)

// newLogger logs into the GNUPGHOME, where the tools that call gpg find the
// reason of a failure, and into the folder that the settings name, which may
// outlive the GNUPGHOME. There is no console: gpg-agent owns it or nobody.
func newLogger(cfg *config.Config, home string, redactor *logging.Redactor) (*slog.Logger, io.Closer, error) {
	var handlers []slog.Handler
	var files closers
	var problems error
	for folder, level := range logFolders(cfg, home) {
		logger, closer, err := logging.New(logging.Options{
			FileLevel: level, FileDirectory: folder, Interface: logInterface, Redactor: redactor})
		problems = errors.Join(problems, err)
		handlers, files = append(handlers, logger.Handler()), append(files, closer)
	}
	return slog.New(slog.NewMultiHandler(handlers...)), files, problems
}

// closers are closed together.
type closers []io.Closer

func (list closers) Close() error {
	var err error
	for _, closer := range list {
		err = errors.Join(err, closer.Close())
	}
	return err
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
	return folders
}

// newRecorder records in the GNUPGHOME, for signkit gpg status, and where the settings say. A GNUPGHOME that does not exist is not
// ours to make.
func newRecorder(cfg *config.Config, home string, log *slog.Logger) event.Recorder {
	var inHome event.Recorder
	if info, err := os.Stat(home); err == nil && info.IsDir() {
		inHome = event.Append(filepath.Join(home, gnupghome.EventsFile), mostEvents, log)
	}
	return event.To(inHome, event.Append(cfg.Events, 0, log))
}

// mostEvents bounds the file in the GNUPGHOME, in bytes. The one before it stays, too.
const mostEvents = 1 << 20
