package docs

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "signkit"

// imports of the module's packages, by path; those of tests are left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	root := filepath.Join("..", "..")
	all := map[string][]string{}
	for _, folder := range []string{"cmd", "gpgagent", "internal", "pkcs11"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(file string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && entry.Name() == "testdata":
				return fs.SkipDir
			}
			if entry.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return nil
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(root, filepath.Dir(file))
			if err != nil {
				return err
			}
			from := path.Join(module, filepath.ToSlash(relative))
			for _, i := range parsed.Imports {
				to, err := strconv.Unquote(i.Path.Value)
				if err != nil {
					return err
				}
				all[from] = append(all[from], to)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestTheDoorsKnowNoService: whoever asks for signatures does not know how a key is reached, not even through another package
// of ours (docs/architecture.md, "The seam").
func TestTheDoorsKnowNoService(t *testing.T) {
	all := imports(t)
	forbidden := []string{"net/http", "crypto/tls", module + "/internal/signpath"}
	var doors int
	for from := range all {
		if from != module+"/pkcs11/token" && !strings.HasPrefix(from, module+"/gpgagent/") {
			continue
		}
		doors++
		seen := map[string]bool{}
		var visit func(way []string)
		visit = func(way []string) {
			for _, to := range all[way[len(way)-1]] {
				further := append(slices.Clone(way), to)
				if slices.Contains(forbidden, to) {
					t.Errorf("%s", strings.Join(further, " imports "))
				}
				if !seen[to] {
					seen[to] = true
					visit(further)
				}
			}
		}
		visit([]string{from})
	}
	if doors < 5 {
		t.Errorf("only %d packages were looked at", doors)
	}
}

// TestFewPackagesSpeakHTTP: a new one needs a reason, and its name here.
func TestFewPackagesSpeakHTTP(t *testing.T) {
	want := []string{
		"signkit/internal/agent",      // the service's end of a socket
		"signkit/internal/artifact",   // time-stamp authorities
		"signkit/internal/mockapi",    // the service itself, for demos and tests
		"signkit/internal/revocation", // lists of certificate authorities
		"signkit/internal/signpath",   // the service
	}
	var got []string
	for from, list := range imports(t) {
		if slices.Contains(list, "net/http") {
			got = append(got, from)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("net/http is imported by %q, want %q", got, want)
	}
}

// TestTheVocabularyImportsNothingOfOurs: everybody speaks it.
func TestTheVocabularyImportsNothingOfOurs(t *testing.T) {
	for _, to := range imports(t)[module+"/internal/key"] {
		if strings.HasPrefix(to, module+"/") {
			t.Errorf("internal/key imports %s", to)
		}
	}
}
