package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// shortestToken: a shorter value may stand in a text by chance.
const shortestToken = 8

// checkNoToken demands that none of the script's tokens, right or wrong, is in what the last
// command printed or in a file of the script's folder, its TMPDIR and its GNUPGHOME: logs,
// manifests, keys, the agent's settings. The service's own folder and the
// file that hands the token to signkit are not looked at.
func checkNoToken(ts *testscript.TestScript) {
	tokens := scriptTokens(ts)
	for _, stream := range []string{"stdout", "stderr"} {
		if holdsToken(ts.ReadFile(stream), tokens) {
			ts.Fatalf("a token is in %s", stream)
		}
	}
	except := []string{ts.Getenv("MOCK")}
	if file := ts.Getenv("SIGNPATH_API_TOKEN_FILE"); file != "" {
		except = append(except, ts.MkAbs(file))
	}
	for _, folder := range []string{ts.Getenv("WORK"), ts.Getenv("TMPDIR"), ts.Getenv("GNUPGHOME")} {
		if folder == "" {
			continue
		}
		file, err := findToken(folder, except, tokens)
		ts.Check(err)
		if file != "" {
			ts.Fatalf("a token is in %s", file)
		}
	}
}

// scriptTokens are the service's tokens and the one that the script sets now.
func scriptTokens(ts *testscript.TestScript) []string {
	tokens := []string{service(ts).Token(), service(ts).SecondToken()}
	if token := ts.Getenv("SIGNPATH_API_TOKEN"); len(token) >= shortestToken {
		tokens = append(tokens, token)
	}
	if name := ts.Getenv("SIGNPATH_API_TOKEN_FILE"); len(name) >= shortestToken && !filepath.IsAbs(name) {
		if _, err := os.Stat(ts.MkAbs(name)); err != nil {
			tokens = append(tokens, name) // the token itself, in the wrong variable
		}
	}
	return tokens
}

func holdsToken(text string, tokens []string) bool {
	for _, token := range tokens {
		if strings.Contains(text, token) {
			return true
		}
	}
	return false
}

// findToken names the first regular file below folder that holds a token. Files may vanish
// meanwhile, with the agents that own them.
func findToken(folder string, except, tokens []string) (found string, err error) {
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case path != folder && slices.Contains(except, path):
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !entry.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && holdsToken(string(data), tokens) {
			found = path
			return fs.SkipAll
		}
		return err
	})
	return found, err
}
