package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signkit/internal/signpath"
)

// recorded is an examination that keeps its findings.
func recorded(p Patient) (*examination, *[]Finding) {
	var found []Finding
	return &examination{Patient: p, show: func(f Finding) { found = append(found, f) }}, &found
}

func one(t *testing.T, found []Finding) Finding {
	t.Helper()
	if len(found) != 1 {
		t.Fatalf("%d findings instead of one: %+v", len(found), found)
	}
	return found[0]
}

func TestClockThatIsWrongIsNamed(t *testing.T) {
	for _, c := range []struct {
		ahead time.Duration
		state State
		text  string
	}{
		{0, OK, "agrees"},
		{59 * time.Second, OK, "agrees"},
		{-59 * time.Second, OK, "agrees"},
		{time.Minute, Warning, "1m0s ahead of the service"},
		{-2 * time.Minute, Warning, "2m0s behind the service"},
		{5 * time.Minute, Problem, "5m0s ahead of the service"},
		{-time.Hour, Problem, "1h0m0s behind the service"},
	} {
		e, found := recorded(Patient{})
		e.clock(&signpath.Health{Ahead: c.ahead})
		f := one(t, *found)
		if f.State != c.state || !strings.Contains(f.Text, c.text) || (f.Fix == "") != (c.state == OK) {
			t.Errorf("%s: %+v", c.ahead, f)
		}
	}
}

func TestEndsOfKeysAreNamed(t *testing.T) {
	const daylong = 24 * time.Hour
	now := time.Now()
	past := now.Add(-100 * daylong)
	for _, c := range []struct {
		name        string
		from, until time.Time
		state       State
		text        string
	}{
		{"not yet valid", now.Add(time.Hour), now.Add(90 * daylong), Problem, "valid from "},
		{"never ends", past, time.Time{}, OK, "never expires"},
		{"expired", past, now.Add(-time.Hour), Problem, "expired on "},
		{"soon", past, now.Add(10*daylong + time.Hour), Warning, "in 10 days"},
		{"just not soon", past, now.Add(expirySoon + time.Hour), OK, "until "},
	} {
		e, found := recorded(Patient{})
		e.ends("demo/x GPG key", c.from, c.until, "renew it")
		f := one(t, *found)
		if f.State != c.state || !strings.Contains(f.Text, c.text) || (f.Fix == "") != (c.state == OK) {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// fakeTools fills a folder, the only one in PATH, with programs that print a text.
func fakeTools(t *testing.T, prints map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range prints {
		script := fmt.Sprintf("#!/bin/sh\nprintf '%%s\\n' '%s'\n", text)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return []string{"PATH=" + dir}
}
