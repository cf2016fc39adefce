package integration

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ory/dockertest/v3/docker"
)

// moreJDKs are the releases of the JDK that a distribution has besides the one in its -java image.
var moreJDKs = map[string]string{"debian-11": "11", "debian-13": "25"}

// TestJarsignerInOtherJDKs signs with the distribution's other JDK, beside the one of the -java image, and lets the usual one verify.
func TestJarsignerInOtherJDKs(t *testing.T) {
	s := need(t)
	s.needImage(t, slices.Sorted(maps.Keys(moreJDKs))...)
	var cells []cell
	for _, c := range s.inAll(users[:1], cell{sample: "jarsigner", key: "demo/rsa-3072"}, cell{sample: "jarsigner", key: "demo/p-256"}) {
		if jdk := moreJDKs[c.image.Name]; jdk != "" {
			c.form = "jdk-" + jdk
			cells = append(cells, c)
		}
	}
	var failing []cell // once in each release
	for i, c := range cells {
		if i > 0 && cells[i-1].image.Name == c.image.Name {
			cells[i].tag = cells[i-1].tag
			continue
		}
		cells[i].tag = s.withJDK(t, c.image, moreJDKs[c.image.Name])
		failing = append(failing, cells[i])
		failing[len(failing)-1].form += "-fails"
	}
	s.each(t, cells, func(w *workplace) {
		w.jar("file.jar")
		w.jar("unsigned.jar")
		if got := w.tool("jarsigner", "-J-version"); !strings.Contains(got.stdout+got.stderr, "version \""+moreJDKs[w.image.Name]+".") {
			w.Fatalf("not the JDK %s", moreJDKs[w.image.Name])
		}
		w.sign(w.key, "file.jar")
		w.roots("root.pem", "stranger.pem")
		w.judge(w.image.verifier(w.sample), "", check{"signed", true, "bash $verify --root root.pem file.jar"},
			check{"unsigned", false, "bash $verify --root root.pem unsigned.jar"})
	})
	s.failsIn(t, failing, "-storepass CONFIG", unsignedJAR)
}

// withJDK is the image with one more JDK, which goes before the other.
func (s *setup) withJDK(t *testing.T, i image, release string) string {
	t.Helper()
	options := ""
	if i.Frozen {
		options = "-o Acquire::Check-Valid-Until=false"
	}
	name := fmt.Sprintf("signkit-jdk:%s-%s", i.Name, release)
	err := s.extend(t, i, "jarsigner", name, fmt.Sprintf("RUN apt-get update %s && DEBIAN_FRONTEND=noninteractive "+
		"apt-get install -y --no-install-recommends openjdk-%s-jdk-headless && rm -rf /var/lib/apt/lists/*\n"+
		"RUN ln -s /usr/lib/jvm/java-%[2]s-openjdk-* /opt/jdk\nENV PATH=/opt/jdk/bin:$PATH\n", options, release))
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// extend builds an image of a test's own: a sample's tools, more steps, and then signkit, which changes most often. It is kept:
// the engine repeats only steps that are new, or above an image that is.
func (s *setup) extend(t *testing.T, i image, sample, name, steps string) error {
	t.Helper()
	dockerfile := "FROM " + i.tag(sample) + " AS signkit\nFROM " + i.verifier(sample) + "\n" + steps
	for _, path := range []string{"/usr/lib/signkit", "/usr/bin/signkit", "/usr/share/signkit"} {
		dockerfile += fmt.Sprintf("COPY --from=signkit %[1]s %[1]s\n", path)
	}
	context := t.TempDir()
	if err := os.WriteFile(context+"/Dockerfile", []byte(dockerfile), 0o644); err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	build := docker.BuildImageOptions{Context: within(t, buildLimit), Name: name, ContextDir: context, Dockerfile: "Dockerfile", OutputStream: &output}
	for _, proxy := range []string{"http_proxy", "https_proxy", "no_proxy"} {
		if value := os.Getenv(proxy); value != "" {
			build.BuildArgs = append(build.BuildArgs, docker.BuildArg{Name: proxy, Value: value})
		}
	}
	if err := s.builder.Client.BuildImage(build); err != nil {
		return fmt.Errorf("building %s: %w\n%s", name, err, strings.TrimSpace(output.String()))
	}
	return nil
}
