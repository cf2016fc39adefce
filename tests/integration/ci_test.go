package integration

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// ciJob is a template's script and how its system starts it.
type ciJob struct {
	name   string
	image  string // of the template, after the name
	user   user
	folder string            // the project's files
	env    map[string]string // that the system or the template sets
	script string
	start  func(*workplace, ciJob, []string, string) result
	agent  *ciAgent // which alone has the token; nil: the job has it
	shards int      // containers that share the files
	all    bool     // run it in every release's image, not only in the one that the template names
}

var ciFiles = []string{"a.tar.gz", "b.txt", "c.bin", "d.zip", "e.txt"}

// TestCITemplates runs the scripts of samples/ci as each system starts them; a verifier with the public key alone judges. With a
// token that the service refuses, each ends red and nothing is signed; it ends red, too, where there is nothing to sign.
func TestCITemplates(t *testing.T) {
	s := need(t)
	s.needImage(t, "debian-13")
	for _, job := range ciJobs(t) {
		s.each(t, s.ciCells(job), func(w *workplace) {
			w.inFolder("dist")
			if got := w.runJob(job, 0); got.code == 0 {
				w.Errorf("with an empty folder the script of %s ended with 0", job.name)
			}
			for _, file := range ciFiles {
				w.write(filepath.Join("dist", file), "content of "+file+"\n")
			}
			if got := w.runJob(job, 0, "SIGNPATH_API_TOKEN="+unknownToken); got.code == 0 || !strings.Contains(got.stdout+got.stderr, "401") {
				w.Fatalf("with a wrong token the script of %s ended with %d", job.name, got.code)
			}
			for _, file := range ciFiles {
				w.missing("dist/" + file + ".asc")
			}
			for shard := range max(job.shards, 1) {
				got := w.runJob(job, shard)
				if got.code != 0 {
					w.Fatalf("the script of %s ended with %d", job.name, got.code)
				}
				if strings.Contains(got.stderr, "is not a setting") {
					w.Errorf("signkit takes a variable of %s for a setting", job.name)
				}
			}
			if got := w.tool("signkit", "gpg", "export", w.key, "--output", "public.asc"); got.code != 0 {
				w.Fatalf("exporting the public key ended with %d", got.code)
			}
			var checks []check
			for _, file := range ciFiles {
				checks = append(checks, check{file, true, fmt.Sprintf("gpgv --keyring ./keyring.gpg dist/%[1]s.asc dist/%[1]s", file)})
			}
			checks = append(checks, check{"another file", false, "gpgv --keyring ./keyring.gpg dist/b.txt.asc dist/e.txt"})
			w.judge(w.image.verifier(w.sample), "gpg --batch --quiet --dearmor --output keyring.gpg public.asc", checks...)
		})
	}
}

// TestPodsShareTheFiles: each file is one pod's. A pod without a file is done; a volume without files is a failure of each.
func TestPodsShareTheFiles(t *testing.T) {
	jobs := ciJobs(t)
	pods := jobs[slices.IndexFunc(jobs, func(j ciJob) bool { return j.name == "kubernetes" })]
	bin := t.TempDir()
	const fake = "#!/bin/bash\nprintf '%s\\n' \"${@:6}\" >>signed\n" // after sign --key KEY --manifest FILE
	if err := os.WriteFile(filepath.Join(bin, "signkit"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files, signed []string
		code          int
	}{
		"five files":      {[]string{"a", "b", "c", "d e", "f", "a.asc", "c.p7s"}, []string{"dist/a", "dist/b", "dist/c", "dist/d e", "dist/f"}, 0},
		"one file":        {[]string{"a"}, []string{"dist/a"}, 0},
		"signatures only": {[]string{"a.asc"}, nil, 1},
		"no file":         {nil, nil, 1},
	} {
		work := t.TempDir()
		if err := os.Mkdir(filepath.Join(work, "dist"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range c.files {
			if err := os.WriteFile(filepath.Join(work, "dist", file), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for pod := range pods.shards {
			command := exec.CommandContext(within(t, time.Minute), "bash", "-euo", "pipefail", "-c", pods.script)
			command.Dir = work
			command.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), fmt.Sprintf("JOB_COMPLETION_INDEX=%d", pod)}
			for name, value := range pods.env {
				command.Env = append(command.Env, name+"="+value)
			}
			if out, _ := command.CombinedOutput(); command.ProcessState.ExitCode() != c.code {
				t.Errorf("%s: pod %d ended with %v\n%s", name, pod, command.ProcessState, out)
			}
		}
		text, _ := os.ReadFile(filepath.Join(work, "signed"))
		signed := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
		if slices.Sort(signed); !slices.Equal(signed, c.signed) {
			t.Errorf("%s: signed were %q", name, signed)
		}
	}
}

// TestCIInputsAreNoCommands: a list of files that would be a command, if it were text of the script, is a failed step.
func TestCIInputsAreNoCommands(t *testing.T) {
	s := need(t)
	s.needImage(t, "debian-13")
	for _, job := range ciJobs(t) {
		for _, name := range []string{"SIGN_FILES", "FILES"} { // of the two that have inputs
			if _, has := job.env[name]; !has {
				continue
			}
			job.name += "-inputs"
			job.all = false
			job.env[name] = "dist/b.txt; touch made $(touch made) `touch made`"
			s.each(t, s.ciCells(job), func(w *workplace) {
				w.inFolder("dist", ciFiles...)
				if got := w.runJob(job, 0); got.code == 0 {
					w.Errorf("the script of %s ended with 0", job.name)
				}
				w.missing("made")
				w.missing("dist/b.txt.asc")
			})
		}
	}
}

// TestComponentInputs: GitLab puts inputs into the text of the component, so each must refuse what ends a word of YAML.
func TestComponentInputs(t *testing.T) {
	good := map[string]string{"key": "my-project/gpg-release", "files": "dist/*.rpm dist/app_[!a-c]-1.0~rc1+b1.tar.?z dist/$CI_COMMIT_TAG/${NAME}",
		"keep": "dist/", "stage": "sign", "image": "registry.example.com:5000/signkit:debian-13@sha256:00", "jobs": "8"}
	if _, err := fillComponent(t, good); err != nil {
		t.Error(err)
	}
	for name, value := range good {
		for _, hostile := range []string{`"`, `\`, "\n", "\r", "\n  script: [id]\n", `", script: [id], x: "`, "'", "`id`", "$(id)", ";id", "|id", "&id", ">x", "<x"} {
			for _, bad := range []string{value + hostile, hostile + value} {
				inputs := maps.Clone(good)
				inputs[name] = bad
				if _, err := fillComponent(t, inputs); err == nil {
					t.Errorf("the component takes %q as %s", bad, name)
				}
			}
		}
	}
}

// ciCells are the cells of a template: its own image, or all, and its user.
func (s *setup) ciCells(job ciJob) []cell {
	return slices.DeleteFunc(s.inAll([]user{job.user}, cell{sample: "git", form: "ci-" + job.name, key: "demo/gpg-rsa-4096"}),
		func(c cell) bool { return c.image.Name != "debian-13" && !job.all })
}

// runJob runs a job's script with the service's settings. The templates name a key and a registry of nobody.
func (w *workplace) runJob(job ciJob, shard int, more ...string) result {
	w.Helper()
	script := strings.ReplaceAll(job.script, "my-project/gpg-release", w.key)
	var env []string
	for name, value := range job.env {
		env = append(env, name+"="+strings.ReplaceAll(value, "my-project/gpg-release", w.key))
	}
	// The images hide warnings.
	env = append(env, fmt.Sprintf("JOB_COMPLETION_INDEX=%d", shard), "SIGNPATH_LOG_CONSOLE_LEVEL=warning")
	job.image = strings.Replace(job.image, "debian-13", w.image.Name, 1)
	if job.agent != nil {
		return w.runBesideAgent(job, env, script, more...)
	}
	return job.start(w, job, w.service.settings(append(env, more...)...), script)
}

// inPod starts what a template itself names as command: Kubernetes, docker compose.
func inPod(w *workplace, job ciJob, env []string, script string) result {
	return w.setup.run(w.T, container{
		image: "signkit:" + job.image, user: w.user, network: true, env: env, once: true,
		binds:   append(w.jobBinds(job), w.dir+":"+job.folder),
		command: []string{"bash", "-euo", "pipefail", "-c", "cd " + job.folder + "\n" + script},
	})
}

// inGitLab is GitLab's docker executor: it looks for a shell, and gives that the script on standard input, where the script itself
// finds nothing. Files belong to root, and the umask is 0.
func inGitLab(w *workplace, job ciJob, env []string, script string) result {
	const findShell = "if [ -x /usr/local/bin/bash ]; then exec /usr/local/bin/bash; elif [ -x /usr/bin/bash ]; then exec /usr/bin/bash; " +
		"elif [ -x /bin/bash ]; then exec /bin/bash; elif [ -x /bin/sh ]; then exec /bin/sh; else exit 1; fi"
	env, variables := w.fileVariable(env, "SIGNPATH_API_TOKEN")
	arguments := append([]string{"run", "--rm", "--interactive", "--volume", variables + ":" + job.folder + ".tmp"}, w.dockerOptions(job, env)...)
	arguments = append(arguments, "signkit:"+job.image, "sh", "-c", findShell)
	return w.docker(env, "set -eo pipefail\nset +o noclobber\numask 0000\n: | eval "+quote("cd "+job.folder+"\n"+script)+"\nexit 0\n", arguments...)
}

// fileVariable makes a variable one of GitLab's type "File", as the templates advise: NAME_FILE is the path of a file beside the
// project, and the umask has made that readable for all. It returns the folder, too.
func (w *workplace) fileVariable(env []string, name string) ([]string, string) {
	w.Helper()
	folder, file := w.TempDir(), name+"_FILE"
	var list []string
	for _, v := range env {
		value, is := strings.CutPrefix(v, name+"=")
		if !is {
			list = append(list, v)
			continue
		}
		if err := os.WriteFile(filepath.Join(folder, file), []byte(value), 0o666); err != nil {
			w.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(folder, file), 0o666); err != nil {
			w.Fatal(err)
		}
		list = append(list, file+"="+"/builds/group/project.tmp/"+file)
	}
	return list, folder
}

// inGitHub is a container job of GitHub: the container idles, and each step is another shell in it.
func inGitHub(w *workplace, job ciJob, env []string, script string) result {
	temporary := w.TempDir() // the runner's own folder for scripts
	if err := os.WriteFile(filepath.Join(temporary, "step.sh"), []byte(script), 0o644); err != nil {
		w.Fatal(err)
	}
	if err := os.Chmod(temporary, 0o755); err != nil {
		w.Fatal(err)
	}
	arguments := append([]string{"create", "--init", "--entrypoint", "tail", "--volume", temporary + ":/__w/_temp",
		"--volume", w.TempDir() + ":/github/home"}, w.dockerOptions(job, env)...)
	created := w.docker(env, "", append(arguments, "signkit:"+job.image, "-f", "/dev/null")...)
	if created.code != 0 {
		w.Fatalf("docker create ended with %d", created.code)
	}
	id := strings.TrimSpace(created.stdout)
	w.Cleanup(func() { w.docker(nil, "", "rm", "--force", id) })
	if got := w.docker(nil, "", "start", id); got.code != 0 {
		w.Fatalf("docker start ended with %d", got.code)
	}
	return w.docker(env, "", "exec", "--workdir", job.folder, id, "sh", "-e", "/__w/_temp/step.sh")
}

// runner is the user of GitHub's runner: in the group that may use Docker, and not root.
var runner = user{name: "runner", id: "1001:1001"}

// asRunner makes a command the runner's, where this process may choose; else it stays this process's user's.
func asRunner(t *testing.T, command *exec.Cmd) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	credential := &syscall.Credential{Uid: 1001, Gid: 1001}
	if info, err := os.Stat("/var/run/docker.sock"); err == nil {
		credential.Groups = []uint32{info.Sys().(*syscall.Stat_t).Gid}
	}
	command.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
}

// onGitHubRunner is a step on the runner itself, which starts docker. The template's docker lines know nothing of a service of our
// own: it is added to them.
func onGitHubRunner(w *workplace, _ ciJob, env []string, script string) result {
	bin := w.setup.workDir(w.T)
	w.copy(w.service.caFile(), "ca.pem")
	docker, err := exec.LookPath("docker")
	if err != nil {
		w.Fatal(err)
	}
	wrapper := "#!/bin/sh\n[ \"$1\" = run ] || exit 9\nshift\nexec " + docker + " run -e SIGNPATH_API_URL -e SIGNKIT_CA_FILE=/src/ca.pem \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(wrapper), 0o755); err != nil {
		w.Fatal(err)
	}
	step := filepath.Join(bin, "step.sh")
	if err := os.WriteFile(step, []byte(strings.ReplaceAll(script, "registry.example.com/", "")), 0o644); err != nil {
		w.Fatal(err)
	}
	for i := range env {
		env[i] = strings.ReplaceAll(env[i], "registry.example.com/", "")
	}
	command := exec.CommandContext(within(w.T, commandLimit), "bash", "--noprofile", "--norc", "-eo", "pipefail", step)
	command.Dir = w.dir
	command.Env = append(append(os.Environ(), env...), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+bin)
	asRunner(w.T, command)
	return w.outcome(command)
}

// dockerOptions are what the systems have in common.
func (w *workplace) dockerOptions(job ciJob, env []string) []string {
	options := []string{"--network", w.setup.network.Network.Name, "--volume", w.dir + ":" + job.folder, "--workdir", job.folder}
	for _, bind := range w.jobBinds(job) {
		options = append(options, "--volume", bind)
	}
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		options = append(options, "--env", name) // its value is in docker's own environment
	}
	return options
}

// docker runs the engine's command line, as CI systems do.
func (w *workplace) docker(env []string, stdin string, arguments ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit) // a cleanup comes after the test's own context
	defer cancel()
	command := exec.CommandContext(ctx, "docker", arguments...)
	command.Env = append(os.Environ(), env...)
	command.Stdin = strings.NewReader(stdin)
	return w.outcome(command)
}

// outcome runs a command; its output is logged if the test fails.
func (w *workplace) outcome(command *exec.Cmd) result {
	w.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	command.WaitDelay = 10 * time.Second // what it has left behind may hold them
	err := command.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		w.Errorf("%s: %v", command.Path, err)
		return result{code: -1}
	}
	r := result{command.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	w.Cleanup(func() {
		if w.Failed() {
			w.Logf("%s\nexit code %d\n%s%s", strings.Join(command.Args, " "), r.code, r.stdout, r.stderr)
		}
	})
	return r
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
	steps := map[string]string{}
	for name, job := range github.Jobs {
		for _, s := range job.Steps {
			if s.Name == "Sign" {
				steps[name] = s.Run
			}
		}
	}
	pod := kubernetesJob(t)
	var compose composeFile
	readYAML(t, &compose, "compose", "compose.yaml")
	service := compose.Services["sign"]
	if steps["sign-in-container"] == "" || steps["sign-with-docker-run"] == "" || len(gitlab.Sign.Script) == 0 || len(service.Command) != 3 {
		t.Fatal("a template has another form than this test knows")
	}
	return []ciJob{
		{name: "gitlab", image: tagOf(t, gitlab.Sign.Image), user: user{name: "root"}, folder: "/builds/group/project",
			env: gitlab.Sign.Variables, script: strings.Join(gitlab.Sign.Script, "\n"), start: inGitLab, all: true},
		gitlabComponent(t),
		{name: "github-container", image: tagOf(t, github.Jobs["sign-in-container"].Container.Image), user: user{name: "root"},
			folder: "/__w/project/project", env: map[string]string{"HOME": "/github/home", "GITHUB_ACTIONS": "true", "CI": "true"},
			script: steps["sign-in-container"], start: inGitHub, all: true},
		{name: "github-docker-run", user: runner, script: steps["sign-with-docker-run"], start: onGitHubRunner},
		githubAction(t),
		pod,
		{name: "compose", image: tagOf(t, service.Image), user: user{name: "uid-1000-read-only", id: "1000:1000", readOnly: true},
			folder: "/src", script: service.Command[2], start: inPod},
		composeAgent(t),
		gitlabAgent(t),
	}
}

// gitlabComponent is the component's job, with a variable of GitLab's among its inputs.
func gitlabComponent(t *testing.T) ciJob {
	t.Helper()
	text, err := fillComponent(t, map[string]string{"key": "my-project/gpg-release", "files": "dist/*.txt dist/$CI_COMMIT_TAG.* dist/[cd].*"})
	if err != nil {
		t.Fatal(err)
	}
	var jobs map[string]struct {
		Image     string
		Variables map[string]string
		Script    []string
	}
	if err := yaml.Unmarshal([]byte(text), &jobs); err != nil {
		t.Fatal(err)
	}
	job, found := jobs["signkit my-project/gpg-release"]
	if !found || len(jobs) != 1 {
		t.Fatalf("the component has other jobs than this test knows:\n%s", text)
	}
	for name, value := range job.Variables { // the runner looks for variables in variables
		job.Variables[name] = os.Expand(value, func(name string) string { return map[string]string{"CI_COMMIT_TAG": "a"}[name] })
	}
	return ciJob{name: "gitlab-component", image: tagOf(t, job.Image), user: user{name: "root"}, folder: "/builds/group/project",
		env: job.Variables, script: strings.Join(job.Script, "\n"), start: inGitLab}
}

// fillComponent checks the inputs, and puts them into the component's text before that is read as YAML, as GitLab does.
func fillComponent(t *testing.T, given map[string]string) (string, error) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "samples", "ci", "gitlab-component", "templates", "sign.yml"))
	if err != nil {
		t.Fatal(err)
	}
	header, pipeline, _ := strings.Cut(string(text), "\n---\n")
	var spec struct {
		Spec struct {
			Inputs map[string]struct{ Type, Regex, Default string }
		}
	}
	if err := yaml.Unmarshal([]byte(header), &spec); err != nil {
		t.Fatal(err)
	}
	_, script, _ := strings.Cut(pipeline, "\n  script:\n")
	if script, _, _ = strings.Cut(script, "\n  artifacts:"); script == "" || strings.Contains(script, "$[[") {
		t.Errorf("an input is text of the script: %s", script)
	}
	for name, input := range spec.Spec.Inputs {
		value := cmp.Or(given[name], input.Default)
		pattern := input.Regex
		if input.Type == "number" {
			pattern = `\A[0-9.]+\z`
		}
		if matches, err := regexp.MatchString(pattern, value); err != nil || pattern == "" || value == "" || !matches {
			return "", fmt.Errorf("%s: %q does not match %q (%v)", name, value, pattern, err)
		}
		pipeline = strings.ReplaceAll(pipeline, "$[[ inputs."+name+" ]]", value)
	}
	return pipeline, nil
}

// githubAction is the step of the composite action with its inputs filled in.
func githubAction(t *testing.T) ciJob {
	t.Helper()
	var action struct {
		Inputs map[string]struct{ Default string }
		Runs   struct {
			Steps []struct {
				Env map[string]string
				Run string
			}
		}
	}
	readYAML(t, &action, "github-action", "action.yml")
	if len(action.Runs.Steps) != 1 {
		t.Fatalf("the action has %d steps", len(action.Runs.Steps))
	}
	step := action.Runs.Steps[0]
	if strings.Contains(step.Run, "${{") {
		t.Errorf("an input is text of the script: %s", step.Run)
	}
	given := map[string]string{"key": "my-project/gpg-release", "files": "dist/*.txt dist/a* dist/[cd].*"}
	env := map[string]string{}
	for name, value := range step.Env {
		input := strings.TrimSuffix(strings.TrimPrefix(value, "${{ inputs."), " }}")
		if input == "organization-id" || input == "api-token" {
			continue // the service's settings have them
		}
		env[name] = cmp.Or(given[input], action.Inputs[input].Default)
	}
	return ciJob{name: "github-action", user: runner, env: env, script: step.Run, start: onGitHubRunner}
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
