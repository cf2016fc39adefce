package integration

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
)

// ciAgent is the container beside a job that alone has the token, as a template describes it.
type ciAgent struct {
	command   []string
	tokenFile string   // where it finds the token
	health    []string // what the system runs in it until it ends with 0, and then starts the job
	volume    []string // options of docker volume create, for the folder of the socket
	readOnly  bool     // for the job
	made      string   // the volume, while a job runs
}

// socketFolder is where both containers of the templates have the volume.
const socketFolder = "/run/signkit"

// credentials are the settings that lead to a token, or are of no use without one.
var credentials = []string{"SIGNPATH_API_TOKEN", "SIGNPATH_API_TOKEN_FILE", "SIGNPATH_ORGANIZATION_ID"}

// runBesideAgent starts the template's agent with the service's settings, and when it is healthy the job with those alone that
// the template gives it.
func (w *workplace) runBesideAgent(job ciJob, env []string, script string, more ...string) result {
	w.Helper()
	agent := *job.agent
	made := w.docker(nil, "", append([]string{"volume", "create"}, agent.volume...)...)
	if made.code != 0 {
		w.Fatalf("docker volume create ended with %d", made.code)
	}
	agent.made = strings.TrimSpace(made.stdout)
	job.agent = &agent
	defer w.docker(nil, "", "volume", "rm", "--force", agent.made)

	id := w.startAgent(job, w.service.settings(more...))
	defer w.docker(nil, "", "rm", "--force", id)
	if !w.healthy(id, agent.health) {
		logs := w.docker(nil, "", "logs", id)
		return result{code: 1, stdout: logs.stdout, stderr: logs.stderr}
	}
	return job.start(w, job, env, script)
}

// startAgent starts the container of the agent, and returns its ID.
func (w *workplace) startAgent(job ciJob, env []string) string {
	w.Helper()
	arguments := []string{"run", "--detach", "--init", "--network", w.setup.network.Network.Name, "--volume", job.agent.made + ":" + socketFolder}
	if w.user.id != "" {
		arguments = append(arguments, "--user", w.user.id)
	}
	if w.user.readOnly {
		arguments = append(arguments, "--read-only", "--tmpfs", "/tmp")
	}
	binds := w.service.binds()
	file := filepath.Join(w.TempDir(), "token")
	for i, v := range env {
		if token, is := strings.CutPrefix(v, "SIGNPATH_API_TOKEN="); is {
			if err := os.WriteFile(file, []byte(token), 0o444); err != nil {
				w.Fatal(err)
			}
			env[i] = "SIGNPATH_API_TOKEN_FILE=" + job.agent.tokenFile
		}
	}
	binds = append(binds, file+":"+job.agent.tokenFile+":ro")
	for _, bind := range binds {
		arguments = append(arguments, "--volume", bind)
	}
	for _, v := range env {
		name, _, _ := strings.Cut(v, "=")
		arguments = append(arguments, "--env", name)
	}
	arguments = append(arguments, "signkit:"+job.image)
	for _, word := range job.agent.command {
		arguments = append(arguments, strings.ReplaceAll(word, "my-project/gpg-release", w.key))
	}
	started := w.docker(env, "", arguments...)
	if started.code != 0 {
		w.Fatalf("starting the agent ended with %d", started.code)
	}
	return strings.TrimSpace(started.stdout)
}

// healthy asks as often as the systems do, until the container is healthy or has ended.
func (w *workplace) healthy(id string, question []string) bool {
	w.Helper()
	for deadline := time.Now().Add(commandLimit); time.Now().Before(deadline); time.Sleep(time.Second) {
		if got := w.docker(nil, "", append([]string{"exec", id}, question...)...); got.code == 0 {
			return true
		}
		if state := w.docker(nil, "", "inspect", "--format", "{{.State.Running}}", id); strings.TrimSpace(state.stdout) != "true" {
			return false
		}
	}
	w.Errorf("the agent was not healthy within %s", commandLimit)
	return false
}

// jobBinds are what a job's container has besides the project: the authority of the service's certificate, or the folder of the
// socket where there is an agent, which is the one that talks to the service then.
func (w *workplace) jobBinds(job ciJob) []string {
	if job.agent != nil && job.agent.readOnly {
		return []string{job.agent.made + ":" + socketFolder + ":ro"}
	}
	if job.agent != nil {
		return []string{job.agent.made + ":" + socketFolder}
	}
	return w.service.binds()
}

// TestCIJobsBesideAnAgentHaveNoToken: the templates give the job's container nothing that leads to the token, and its script ends
// red when the agent is gone.
func TestCIJobsBesideAnAgentHaveNoToken(t *testing.T) {
	s := need(t)
	s.needImage(t, "debian-13")
	agents := 0
	for _, job := range ciJobs(t) {
		if job.agent == nil {
			continue
		}
		agents++
		for _, name := range credentials {
			if _, has := job.env[name]; has {
				t.Errorf("%s gives its job %s", job.name, name)
			}
		}
		if job.env["SIGNKIT_AGENT"] != socketFolder+"/agent" || !slices.Contains(job.agent.command, socketFolder+"/agent") {
			t.Errorf("%s: the agent listens as %q, and the job has SIGNKIT_AGENT=%s", job.name, job.agent.command, job.env["SIGNKIT_AGENT"])
		}
		job.name += "-without-agent"
		job.agent.command = []string{"sleep", "3600"}
		job.agent.health = []string{"true"}
		s.each(t, s.ciCells(job), func(w *workplace) {
			w.inFolder("dist", ciFiles...)
			got := w.runJob(job, 0)
			if got.code == 0 || !strings.Contains(got.stderr, "SIGNKIT_AGENT") && !strings.Contains(got.stderr, "the agent at "+socketFolder) {
				w.Errorf("without an agent the script of %s ended with %d, and does not say why", job.name, got.code)
			}
			w.missing("dist/b.txt.asc")
		})
	}
	if agents != 3 {
		t.Errorf("%d templates have an agent, want Kubernetes, docker compose and GitLab", agents)
	}
}

// kubernetesJob is the Job's pod: a sidecar and a container.
func kubernetesJob(t *testing.T) ciJob {
	t.Helper()
	type container struct {
		Name, Image, RestartPolicy string
		Command, Args              []string
		Env                        []struct{ Name, Value string }
		VolumeMounts               []struct{ Name, MountPath string }
		StartupProbe               struct{ Exec struct{ Command []string } }
	}
	var job struct {
		Spec struct {
			Completions int
			Template    struct {
				Spec struct {
					SecurityContext            struct{ RunAsUser, RunAsGroup int }
					InitContainers, Containers []container
					Volumes                    []map[string]any
				}
			}
		}
	}
	// The parser takes names in lower case alone, and Kubernetes has others.
	var document any
	readYAML(t, &document, "kubernetes", "sign.yaml")
	text, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &job); err != nil {
		t.Fatal(err)
	}
	pod := job.Spec.Template.Spec
	if job.Spec.Completions != 4 || len(pod.InitContainers) != 1 || len(pod.Containers) != 1 || len(pod.Containers[0].Args) != 1 ||
		pod.InitContainers[0].RestartPolicy != "Always" || pod.InitContainers[0].Image != pod.Containers[0].Image {
		t.Fatal("the Job has another form than this test knows")
	}
	sidecar, sign := pod.InitContainers[0], pod.Containers[0]
	env := map[string]string{}
	for _, v := range sign.Env {
		env[v.Name] = v.Value
	}
	for _, mount := range sign.VolumeMounts {
		if mount.Name == "token" {
			t.Errorf("the pod's container %s has the token at %s", sign.Name, mount.MountPath)
		}
	}
	agent := ciAgent{command: sidecar.Command, health: sidecar.StartupProbe.Exec.Command,
		// An emptyDir in memory with fsGroup, as the kubelet makes it.
		volume: []string{"--driver", "local", "--opt", "type=tmpfs", "--opt", "device=tmpfs", "--opt", "o=mode=2777,size=1m"}}
	for _, v := range sidecar.Env {
		if v.Name == "SIGNPATH_API_TOKEN_FILE" {
			agent.tokenFile = v.Value
		}
	}
	return ciJob{name: "kubernetes", image: tagOf(t, sign.Image), folder: "/release", env: env, script: sign.Args[0], start: inPod,
		user:   user{name: "pod", id: fmt.Sprintf("%d:%d", pod.SecurityContext.RunAsUser, pod.SecurityContext.RunAsGroup), readOnly: true},
		shards: job.Spec.Completions, agent: &agent}
}

// composeFile is what docker compose reads.
type composeFile struct {
	Services map[string]struct {
		Image       string
		Command     []string
		Environment map[string]string
		Secrets     []string
		Volumes     []string
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
		Healthcheck struct{ Test []string }
	}
	Volumes map[string]struct {
		Name       string
		DriverOpts map[string]string `yaml:"driver_opts"`
	}
}

// composeAgent is the project with a container for the agent.
func composeAgent(t *testing.T) ciJob {
	t.Helper()
	var file composeFile
	readYAML(t, &file, "compose", "agent.yaml")
	agent, sign := file.Services["agent"], file.Services["sign"]
	if len(sign.Command) != 3 || sign.DependsOn["agent"].Condition != "service_healthy" || len(agent.Healthcheck.Test) < 2 ||
		agent.Healthcheck.Test[0] != "CMD" || agent.Image != sign.Image {
		t.Fatal("compose/agent.yaml has another form than this test knows")
	}
	if want := []string{"./dist:/src/dist", "agent:" + socketFolder}; len(sign.Secrets) > 0 || !slices.Equal(sign.Volumes, want) {
		t.Errorf("the container that signs has %q and %q, want %q", sign.Secrets, sign.Volumes, want)
	}
	volume := []string{"--driver", "local"}
	for _, name := range slices.Sorted(maps.Keys(file.Volumes["agent"].DriverOpts)) {
		volume = append(volume, "--opt", name+"="+file.Volumes["agent"].DriverOpts[name])
	}
	return ciJob{name: "compose-agent", image: tagOf(t, sign.Image), user: user{name: "uid-1000-read-only", id: "1000:1000", readOnly: true},
		folder: "/src", env: sign.Environment, script: sign.Command[2], start: inPod,
		agent: &ciAgent{command: agent.Command, health: agent.Healthcheck.Test[1:], volume: volume,
			tokenFile: agent.Environment["SIGNPATH_API_TOKEN_FILE"]}}
}

// gitlabAgent is a job on a runner whose host has an agent.
func gitlabAgent(t *testing.T) ciJob {
	t.Helper()
	var pipeline struct {
		Sign struct {
			Image     string
			Variables map[string]string
			Script    []string
		}
	}
	readYAML(t, &pipeline, "gitlab-agent", ".gitlab-ci.yml")
	var host composeFile
	readYAML(t, &host, "gitlab-agent", "agent.yaml")
	agent := host.Services["agent"]
	var runner struct {
		Runners []struct {
			Docker struct {
				Volumes  []string
				Services []any // get the variables of the pipeline's file, whoever writes it
			}
		}
	}
	if _, err := toml.DecodeFile(filepath.Join(root, "samples", "ci", "gitlab-agent", "config.toml"), &runner); err != nil {
		t.Fatal(err)
	}
	mount := host.Volumes["agent"].Name + ":" + socketFolder + ":ro"
	if len(runner.Runners) != 1 || len(runner.Runners[0].Docker.Services) != 0 || !slices.Contains(runner.Runners[0].Docker.Volumes, mount) ||
		!slices.Equal(agent.Volumes, []string{"agent:" + socketFolder}) || len(agent.Healthcheck.Test) < 2 || agent.Image != pipeline.Sign.Image {
		t.Fatal("gitlab-agent has another form than this test knows")
	}
	return ciJob{name: "gitlab-agent", image: tagOf(t, pipeline.Sign.Image), user: user{name: "root"}, folder: "/builds/group/project",
		env: pipeline.Sign.Variables, script: strings.Join(pipeline.Sign.Script, "\n"), start: inGitLab,
		agent: &ciAgent{command: agent.Command, health: agent.Healthcheck.Test[1:], readOnly: true,
			tokenFile: agent.Environment["SIGNPATH_API_TOKEN_FILE"]}}
}
