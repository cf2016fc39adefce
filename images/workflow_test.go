package images

import (
	"os"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// TestWorkflowTestsEveryRelease: CI builds and tests each release that can be built in one job, and none that is not there.
func TestWorkflowTestsEveryRelease(t *testing.T) {
	text, err := os.ReadFile("../.github/workflows/ci.yml")
	if err != nil {
		t.Fatal(err)
	}
	var workflow struct {
		Jobs map[string]struct {
			Strategy struct {
				FailFast *bool `yaml:"fail-fast"`
				Matrix   struct{ Image []string }
			}
			Steps []struct {
				Run string
				Env map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(text, &workflow); err != nil {
		t.Fatal(err)
	}
	runs := map[string]string{"test": ".ci/run", "images": "make integration"}
	names := map[string]string{}
	for job, run := range runs {
		for _, step := range workflow.Jobs[job].Steps {
			if step.Run == run {
				names[job] = step.Env["SIGNKIT_IMAGES"]
			}
		}
	}
	if want := "${{ matrix.image }}"; names["images"] != want {
		t.Errorf("the job images runs %q with SIGNKIT_IMAGES=%s, want %s", runs["images"], names["images"], want)
	}
	strategy := workflow.Jobs["images"].Strategy
	if strategy.FailFast == nil || *strategy.FailFast {
		t.Error("one release that fails ends the jobs of the others")
	}
	got := append(strings.Fields(names["test"]), strategy.Matrix.Image...)
	var want []string
	for _, i := range all(t) {
		if i.NotYet == "" {
			want = append(want, i.Name)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf(".github/workflows/ci.yml tests %v, images/matrix.json has %v", got, want)
	}
}
