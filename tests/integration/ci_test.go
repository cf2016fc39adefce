package integration

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// ciJob is a template's script and how its system starts it.
type ciJob struct {
	name    string
	image   string // of the template, after the name
	user    user
	folder  string            // the project's files
	env     map[string]string // that the system or the template sets
	prelude string            // what the system does before the script
	script  string
}

// TestCITemplates runs the scripts of samples/ci in the image, as each system starts them, and checks that all is signed.
func TestCITemplates(t *testing.T) {
	s := need(t)
	s.needImage(t, "debian-13")
	for _, job := range ciJobs(t) {
		var debian13 []cell
		for _, c := range s.inAll([]user{job.user}, cell{sample: "git", form: "ci-" + job.name, key: "demo/gpg-rsa-4096"}) {
			if c.image.Name == "debian-13" {
				debian13 = append(debian13, c)
			}
		}
		s.each(t, debian13, func(w *workplace) {
			files := []string{"a.tar.gz", "b.txt", "c.bin", "d.zip", "e.txt"}
			w.inFolder("dist", files...)
			for shard := range 4 {
				w.runJob(job, shard)
				if !strings.HasPrefix(job.name, "kubernetes") {
					break
				}
			}
			for _, file := range files {
				if _, err := os.Stat(filepath.Join(w.dir, "dist", file+".asc")); err != nil {
					w.Errorf("%s is not signed: %v", file, err)
				}
			}
		})
	}
}

// inFolder writes small files into a folder that every user may write to.
func (w *workplace) inFolder(folder string, names ...string) {
	w.Helper()
	if err := os.Mkdir(filepath.Join(w.dir, folder), 0o777); err != nil {
		w.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(w.dir, folder), 0o777); err != nil {
		w.Fatal(err)
	}
	for _, name := range names {
		w.write(filepath.Join(folder, name), "content of "+name+"\n")
	}
}

func (w *workplace) runJob(job ciJob, shard int) {
	w.Helper()
	env := []string{fmt.Sprintf("JOB_COMPLETION_INDEX=%d", shard)}
	for name, value := range job.env {
		env = append(env, name+"="+value)
	}
	slices.Sort(env)
	// The templates name a key and a registry of nobody.
	script := strings.ReplaceAll(job.script, "my-project/gpg-release", w.key)
	for i := range env {
		env[i] = strings.ReplaceAll(env[i], "my-project/gpg-release", w.key)
	}
	got := w.setup.run(w.T, container{
		image: "signkit:" + job.image, user: w.user, network: true, env: w.service.settings(env...),
		binds:   append(w.service.binds(), w.dir+":"+job.folder),
		command: []string{"sh", "-ec", "cd " + job.folder + "\n" + job.prelude + "\nexec bash -euo pipefail -c '" + strings.ReplaceAll(script, "'", `'\''`) + "'"},
	})
	if got.code != 0 {
		w.Fatalf("the script of %s ended with %d", job.name, got.code)
	}
}

// ciJobs reads the templates with a parser of YAML.
func ciJobs(t *testing.T) []ciJob {
	t.Helper()
	var gitlab struct {
		Sign struct {
			Image     string
			Variables map[string]string
			Script    []string
		}
	}
	readYAML(t, &gitlab, "gitlab", ".gitlab-ci.yml")
	var github struct {
		Jobs map[string]struct {
			Container struct{ Image, Options string }
			Steps     []struct{ Name, Run string }
		}
	}
	readYAML(t, &github, "github", "sign.yml")
	var step string
	for _, s := range github.Jobs["sign-in-container"].Steps {
		if s.Name == "Sign" {
			step = s.Run
		}
	}
	var kubernetes struct {
		Spec struct {
			Completions int
			Template    struct {
				Spec struct {
					Containers []struct {
						Image string
						Args  []string
						Env   []struct{ Name, Value string }
					}
				}
			}
		}
	}
	readYAML(t, &kubernetes, "kubernetes", "sign.yaml")
	pod := kubernetes.Spec.Template.Spec.Containers[0]
	podEnv := map[string]string{}
	for _, v := range pod.Env {
		if v.Name == "SHARES" || v.Name == "SIGNKIT_KEY" {
			podEnv[v.Name] = v.Value
		}
	}
	var compose struct {
		Services map[string]struct {
			Image   string
			Command []string
		}
	}
	readYAML(t, &compose, "compose", "compose.yaml")
	service := compose.Services["sign"]
	if step == "" || len(gitlab.Sign.Script) == 0 || len(pod.Args) != 1 || kubernetes.Spec.Completions != 4 || len(service.Command) != 3 {
		t.Fatal("a template has another form than this test knows")
	}
	return []ciJob{
		{"gitlab", tagOf(t, gitlab.Sign.Image), user{name: "root"}, "/builds/group/project", gitlab.Sign.Variables,
			"umask 0000", strings.Join(gitlab.Sign.Script, "\n")},
		{"github-container", tagOf(t, github.Jobs["sign-in-container"].Container.Image), user{name: "root"}, "/__w/project/project",
			map[string]string{"HOME": "/github/home", "GITHUB_ACTIONS": "true", "CI": "true"}, "mkdir -p /github/home", step},
		{"kubernetes", tagOf(t, pod.Image), user{name: "pod", id: "10001:0", readOnly: true}, "/release", podEnv, "", pod.Args[0]},
		{"compose", tagOf(t, service.Image), user{name: "uid-1000-read-only", id: "1000:1000", readOnly: true}, "/src", nil, "", service.Command[2]},
	}
}

func readYAML(t *testing.T, into any, names ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{root, "samples", "ci"}, names...)...))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%v: %v", names, err)
	}
}

// tagOf is the tag of a template's image, without the registry of nobody.
func tagOf(t *testing.T, image string) string {
	t.Helper()
	tag, ok := strings.CutPrefix(image, "registry.example.com/signkit:")
	if !ok {
		t.Fatalf("the template names the image %q", image)
	}
	return tag
}
