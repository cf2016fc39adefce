package process

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"

	"signkit/internal/config"
	"signkit/internal/event"
	"signkit/internal/logging"
)

// start begins with a log in memory.
func start(t *testing.T, environ ...string) (p *Process, written *bytes.Buffer, settings error) {
	t.Helper()
	written = new(bytes.Buffer)
	p, settings, logs := Start(Options{
		Environ: environ, Directory: t.TempDir(), Caller: os.Getpid(),
		Log: func(_ *config.Config, redactor *logging.Redactor) (*slog.Logger, io.Closer, error) {
			return logging.New(logging.Options{ConsoleLevel: logging.Debug, Console: written, Redactor: redactor})
		},
	})
	if logs != nil {
		t.Fatal(logs)
	}
	t.Cleanup(p.Close)
	return p, written, settings
}

func TestSecretsAreKnownBeforeTheFirstLineIsWritten(t *testing.T) {
	p, written, err := start(t, "SIGNPATH_API_TOKEN=s3cret-token-of-the-test", "SIGNPATH_API_URL=https://h.invalid/Api")
	if err != nil {
		t.Fatal(err)
	}
	p.Log.Warn("the service said s3cret-token-of-the-test")
	if text := written.String(); strings.Contains(text, "s3cret") || !strings.Contains(text, "the service said") {
		t.Error(text)
	}
}

func TestWithWrongSettingsItBeginsNevertheless(t *testing.T) {
	p, written, err := start(t, "SIGNPATH_API_TOKEN=s3cret-token-of-the-test", "SIGNKIT_MAX_PARALLEL=many")
	if err == nil || !strings.Contains(err.Error(), "SIGNKIT_MAX_PARALLEL") {
		t.Errorf("%v", err)
	}
	p.Log.Warn("s3cret-token-of-the-test")
	if text := written.String(); strings.Contains(text, "s3cret") || text == "" {
		t.Error(text)
	}
}

func TestWarningsAboutSettingsAreInTheLog(t *testing.T) {
	_, written, err := start(t, "SIGNPATH_APITOKEN=x")
	if err != nil || !strings.Contains(written.String(), "SIGNPATH_APITOKEN") {
		t.Errorf("%v: %s", err, written)
	}
}

func TestEventsTellWhoAsked(t *testing.T) {
	p, _, _ := start(t)
	var got []event.Event
	p.Record(func(e event.Event) { got = append(got, e) })(event.Event{Key: "demo/a"})
	if len(got) != 1 || got[0].Key != "demo/a" || got[0].Caller == nil || got[0].Caller.PID != os.Getpid() {
		t.Errorf("%+v", got)
	}
	if p.Record(nil) != nil {
		t.Error("there is a recorder for nobody")
	}
}
