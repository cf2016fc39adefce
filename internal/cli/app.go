package cli

import (
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"signkit/internal/config"
	"signkit/internal/logging"
	"signkit/internal/process"
	"signkit/internal/signpath"
	"signkit/internal/version"
)

// app is what every verb gets: the process's surroundings, the user interface, and the
// settings and the client, made when first asked for.
type app struct {
	environ   []string // as os.Environ
	directory string   // where relative paths begin
	stdin     io.Reader
	ui        *ui

	settings *config.Config
	service  *signpath.Client
	logs     io.Closer
	logger   *slog.Logger
}

func newApp(environ []string, directory string, stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{environ: environ, directory: directory, stdin: stdin, ui: newUI(stdout, stderr, environ)}
}

func (a *app) close() {
	if a.service != nil {
		a.service.Close()
	}
	if a.logs != nil {
		a.logs.Close()
	}
}

// jsonFlag gives a verb --json.
func (a *app) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.ui.json, "json", false, "print one JSON document, for programs")
}

// environment is the value of a variable; "" when it is not set. Settings come from config.
func (a *app) environment(name string) string { return lookup(a.environ, name) }

// lookup takes the first of equal names, as libc does.
func lookup(environ []string, name string) string {
	for _, entry := range environ {
		if key, value, ok := strings.Cut(entry, "="); ok && key == name {
			return value
		}
	}
	return ""
}

// config reads the settings, once. Warnings about them are shown.
func (a *app) config() (*config.Config, error) {
	if a.settings != nil {
		return a.settings, nil
	}
	cfg, err := a.loadConfig()
	if err != nil {
		return nil, withCode(exitSettings, err)
	}
	for _, warning := range cfg.Warnings() {
		a.ui.warning("%s", warning)
	}
	a.settings = cfg
	return cfg, nil
}

// loadConfig reads the settings, also those of a configuration that is wrong in part.
func (a *app) loadConfig() (*config.Config, error) {
	return process.Settings(a.environ, a.directory, a.ui.redactor)
}

// log returns the logger that the settings ask for. Waiting for the service must be seen, so
// the console shows warnings unless a setting says otherwise.
func (a *app) log(cfg *config.Config) *slog.Logger {
	if a.logger != nil {
		return a.logger
	}
	level := cfg.Log.ConsoleLevel
	if cfg.Source("SIGNPATH_LOG_CONSOLE_LEVEL") == "default" {
		level = logging.Warning
	}
	logger, closer, err := logging.New(logging.Options{
		ConsoleLevel: level, Console: a.ui.stderr,
		FileLevel: cfg.Log.FileLevel, FileDirectory: cfg.Log.FileDirectory,
		Interface: "CLI", Redactor: a.ui.redactor,
	})
	if err != nil {
		a.ui.warning("%v", err)
	}
	a.logger, a.logs = logger, closer
	return logger
}

// client returns the client of the signing service, made once; no connection is opened yet.
func (a *app) client() (*signpath.Client, error) {
	if a.service != nil {
		return a.service, nil
	}
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	if err := cfg.CheckCredentials(); err != nil {
		return nil, withCode(exitSettings, err)
	}
	return a.anyClient(cfg)
}

// anyClient is client for settings that may lack credentials.
func (a *app) anyClient(cfg *config.Config) (*signpath.Client, error) {
	client, err := signpath.New(cfg, signpath.Options{
		Logger: a.log(cfg), Redactor: a.ui.redactor, Process: a.thisProcess,
		UserAgent: "signkit/" + version.Version + " (cli; " + platform() + ")",
	})
	if err != nil {
		return nil, withCode(exitSettings, err)
	}
	a.service = client
	return client, nil
}
