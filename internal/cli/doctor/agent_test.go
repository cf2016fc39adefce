package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokenThatTheJobCanReadIsNamedWithoutItsValue(t *testing.T) {
	const secret = "s3cret-token-of-the-test"
	tests := []struct {
		name, own, other string
		want             string // in the finding; empty: none is in reach
	}{
		{"nowhere", "PATH=/bin", "HOME=/\x00PATH=/bin\x00", ""},
		{"empty", "SIGNPATH_API_TOKEN=", "SIGNPATH_API_TOKEN=\x00", ""},
		{"here", "SIGNPATH_API_TOKEN=" + secret, "", "SIGNPATH_API_TOKEN of this environment"},
		{"in a file", "SIGNPATH_API_TOKEN_FILE=/run/secrets/token", "", "SIGNPATH_API_TOKEN_FILE of this environment"},
		{"in the shell", "PATH=/bin", "HOME=/\x00SIGNPATH_API_TOKEN=" + secret + "\x00", "SIGNPATH_API_TOKEN of process 17 (bash)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			proc := t.TempDir()
			folder := filepath.Join(proc, "17")
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, content := range map[string]string{"environ": test.other, "comm": "bash\n"} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			e, found := recorded(Patient{Environ: []string{test.own}})
			e.tokenInReach(proc)
			f := one(t, *found)
			if f.State != map[bool]State{true: OK, false: Warning}[test.want == ""] || !strings.Contains(f.Text, test.want) || strings.Contains(f.Text, secret) {
				t.Errorf("%+v", f)
			}
		})
	}
}
