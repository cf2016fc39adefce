package integration

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// gpgPlugins are the versions of maven-gpg-plugin, which differ in how they call gpg and ask for a passphrase. The first is
// what old projects have; 3.1 and 3.2 changed it again.
var gpgPlugins = []string{"1.6", "3.0.1", "3.1.0", "3.2.7"}

// mavenRepository fetches what the test's project needs to be built offline, or finds it fetched, and says where it is.
var mavenRepository = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "maven-repository.sh"), gpgPlugins...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
})

// buildAndSign runs the sample on a copy of the project, offline, with a repository that Maven may write to, and notes in
// which environment Maven starts. Signatures of an earlier build are there.
const buildAndSign = `
cp -R /project hello
mkdir -p bin hello/target
echo old | tee hello/target/hello-1.0.jar.asc >hello/target/hello-0.9.jar.asc
cp -R /repository /tmp/repository
printf '#!/bin/sh\nenv >%s/environment\nexec %s "$@"\n' "$PWD" "$(command -v mvn)" >bin/mvn
chmod +x bin/mvn
export PATH=$PWD/bin:$PATH
"$0" "$1" hello --offline -Dmaven.repo.local=/tmp/repository -Dgpg.plugin="$2" verify
`

// maven builds and signs the project with a version of the plugin.
func (w *workplace) maven(plugin string) result {
	w.Helper()
	repository, err := mavenRepository()
	if err != nil {
		w.Fatalf("fetching what Maven needs (scripts/maven-repository.sh): %v", err)
	}
	return w.setup.run(w.T, container{
		image: w.image.tag(w.sample), user: w.user, network: true, env: w.service.settings(w.more...),
		binds: append(w.service.binds(), repository+":/repository:ro",
			absolute(w.T, "tests", "integration", "testdata", "maven")+":/project:ro"),
		dir:     w.dir,
		command: []string{"bash", "-euc", buildAndSign, samplesInImage + "/maven/sign.sh", w.key, plugin},
	})
}

// TestMaven signs a jar and its pom.
func TestMaven(t *testing.T) {
	s := need(t)
	newest := gpgPlugins[len(gpgPlugins)-1]
	var cells []cell
	for _, plugin := range gpgPlugins {
		as := twoUsers[:1]
		if plugin == newest {
			as = twoUsers[1:]
		}
		cells = append(cells, s.inAll(as, cell{sample: "maven", form: plugin, key: "demo/gpg-rsa-4096"})...)
	}
	ec := s.inAll(users[:1], cell{sample: "maven", form: newest, key: "demo/gpg-p-256"})
	cells = append(cells, ec[:min(1, len(ec))]...) // what gpg does with such a key is TestOpenPGP's
	s.each(t, cells, func(w *workplace) {
		w.write("token", w.service.setting("SIGNPATH_API_TOKEN"))
		if w.user.id != "" { // one of the two ways to give a token
			w.more = []string{"SIGNPATH_API_TOKEN=", "SIGNPATH_API_TOKEN_FILE=" + w.inside("token")}
		}
		if got := w.maven(w.form); got.code != 0 {
			w.Fatalf("sign.sh ended with %d", got.code)
		}
		w.withoutCredentials("environment")
		w.signatures("hello-1.0.jar.asc", "hello-1.0.pom.asc")

		other := map[string]string{"demo/gpg-rsa-4096": "demo/gpg-p-256", "demo/gpg-p-256": "demo/gpg-rsa-4096"}[w.key]
		w.publicKey("right.asc", w.key)
		w.publicKey("wrong.asc", other)
		w.judge(w.image.verifier(w.sample), `
cd hello/target
cp hello-1.0.jar unsigned.jar
cp hello-1.0.jar tampered.jar; cp hello-1.0.jar.asc tampered.jar.asc; echo >>tampered.jar
cp hello-1.0.pom tampered.pom; cp hello-1.0.pom.asc tampered.pom.asc; sed -i 's/hello/hallo/' tampered.pom`,
			check{"signed", true, "bash $verify ../../right.asc hello-1.0.jar hello-1.0.pom"},
			check{"unsigned", false, "bash $verify ../../right.asc unsigned.jar"},
			check{"one of two unsigned", false, "bash $verify ../../right.asc unsigned.jar hello-1.0.pom"},
			check{"tampered", false, "bash $verify ../../right.asc tampered.jar"},
			check{"tampered pom", false, "bash $verify ../../right.asc hello-1.0.jar tampered.pom"},
			check{"wrong key", false, "bash $verify ../../wrong.asc hello-1.0.jar"},
		)
	})
}

// TestMavenFailures: whatever fails, before Maven starts or in it, no signature is left and stderr has the cause, which
// Maven does not tell.
func TestMavenFailures(t *testing.T) {
	s := need(t)
	for name, test := range map[string]struct {
		settings []string
		fault    *fault
		want     []string
	}{
		"token":      {[]string{"SIGNPATH_API_TOKEN=" + unknownToken}, nil, []string{"401", "SIGNPATH_API_TOKEN"}},
		"permission": {nil, &fault{Route: "sign", Kind: "status", Status: 403, Count: -1}, []string{"403"}},
	} {
		s.each(t, s.inAll(users[:1], cell{sample: "maven", form: "fails-" + name, key: "demo/gpg-rsa-4096"}), func(w *workplace) {
			w.more = test.settings
			if test.fault != nil {
				w.service.fail(w.T, *test.fault)
			}
			got := w.maven(gpgPlugins[len(gpgPlugins)-1])
			if got.code == 0 {
				w.Error("sign.sh ended with 0")
			}
			for _, want := range test.want {
				if !strings.Contains(got.stderr, want) {
					w.Errorf("stderr does not say %q", want)
				}
			}
			for _, token := range []string{unknownToken, w.service.setting("SIGNPATH_API_TOKEN")} {
				if strings.Contains(got.stdout+got.stderr, token) {
					w.Error("the output shows the token")
				}
			}
			w.signatures()
		})
	}
}

// withoutCredentials checks a list of variables: nothing in it is, or leads to, the token.
func (w *workplace) withoutCredentials(name string) {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.Fatal(err)
	}
	if !strings.Contains(string(text), "GNUPGHOME=") {
		w.Error("Maven does not get the GNUPGHOME")
	}
	if strings.Contains(string(text), w.service.setting("SIGNPATH_API_TOKEN")) {
		w.Error("Maven gets the token")
	}
	for line := range strings.Lines(string(text)) {
		variable, _, _ := strings.Cut(line, "=")
		if strings.HasPrefix(variable, "SIGNPATH_") || strings.HasPrefix(variable, "SIGNKIT_") {
			w.Errorf("Maven gets %s", variable)
		}
	}
}

// signatures checks that the project has signatures of these names and no more.
func (w *workplace) signatures(want ...string) {
	w.Helper()
	var got []string
	err := filepath.WalkDir(filepath.Join(w.dir, "hello"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".asc") {
			got = append(got, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		w.Errorf("signatures %q, want %q", got, want)
	}
}

// publicKey writes what those who verify get.
func (w *workplace) publicKey(name, key string) {
	w.Helper()
	got := w.tool("signkit", "gpg", "export", key)
	if got.code != 0 {
		w.Fatalf("signkit gpg export %s ended with %d", key, got.code)
	}
	w.write(name, got.stdout)
}
