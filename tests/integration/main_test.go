// Package integration runs real signing tools in containers against the mock signing service, over TLS, and verifies what
// they signed in a container that has nothing of this project. Images are built before (make integration does).
package integration

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"

	"signkit/images"
)

// buildLimit is how long it may take to fetch and build what a test needs besides the images.
const buildLimit = 15 * time.Minute

// root is the repository, seen from this folder.
const root = "../.."

// setup is what all tests of a run share; only TestMain makes one.
type setup struct {
	unavailable  string // why no container test can run; empty if they can
	work         string // the folder of all tests' folders
	pool         *dockertest.Pool
	builder      *dockertest.Pool // for what takes the engine longer than engineLimit
	network      *dockertest.Network
	images       []image // those that are built here
	kept         containers
	services     chan *service // each is one test's at a time
	all          []*service
	report       report
	certificates sync.Map // PEM by key, once fetched
}

var shared = &setup{}

func TestMain(m *testing.M) {
	flag.Parse()
	// A test waits for its container a third of the time and more: with two processors and three tests a quarter of them is idle.
	parallel := flag.Lookup("test.parallel")
	if parallel.Value.String() == fmt.Sprint(runtime.GOMAXPROCS(0)) {
		_ = parallel.Value.Set(fmt.Sprint(runtime.GOMAXPROCS(0) + 2))
	}
	os.Exit(shared.main(m))
}

func (s *setup) main(m *testing.M) int {
	defer s.tearDown()
	if err := s.start(); errors.Is(err, errChoice) {
		fmt.Fprintln(os.Stderr, err) // nobody who names an image wants all tests skipped
		return 1
	} else if err != nil {
		s.unavailable = err.Error()
	}
	code := m.Run()
	name := "scenarios.json"
	if flag.Lookup("test.run").Value.String() != "" {
		name = "scenarios-partial.json" // what one test has tried must not pass for all there is
	} else if lacks := s.report.lacks(s.images); s.unavailable == "" && len(lacks) > 0 {
		fmt.Fprintf(os.Stderr, "the report lacks runs that passed:\n%s\n", strings.Join(lacks, "\n"))
		code = 1
	}
	if err := s.report.write(filepath.Join(root, "build", "reports", name)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func (s *setup) start() error {
	if reason := os.Getenv("SIGNKIT_NO_ENGINE"); reason != "" {
		return errors.New(reason)
	}
	var err error
	if s.pool, err = dockertest.NewPool(""); err != nil {
		return fmt.Errorf("no Docker engine: %w", err)
	}
	s.pool.Client.SetTimeout(engineLimit)
	if s.builder, err = dockertest.NewPool(""); err != nil {
		return fmt.Errorf("no Docker engine: %w", err)
	}
	if err := s.pool.Client.Ping(); err != nil {
		return fmt.Errorf("no Docker engine answers: %w", err)
	}
	if err := s.findImages(); err != nil {
		return err
	}
	if err := s.makeWork(); err != nil {
		return err
	}
	if s.network, err = s.pool.CreateNetwork(fmt.Sprintf("signkit-integration-%d", os.Getpid())); err != nil {
		return fmt.Errorf("making a container network: %w", err)
	}
	return s.startServices()
}

// makeWork makes the folder that every container has.
func (s *setup) makeWork() error {
	var err error
	if s.work, err = os.MkdirTemp("", "signkit-work-"); err != nil {
		return err
	}
	return os.Chmod(s.work, 0o755)
}

// namesOthers is why an image is left out that the variable SIGNKIT_IMAGES does not name.
const namesOthers = "SIGNKIT_IMAGES names others"

// errChoice is in every error about what that variable names.
var errChoice = errors.New("SIGNKIT_IMAGES")

// chosen reads names, the value of SIGNKIT_IMAGES: those of images/matrix.json, with blanks between. None where it is blank, which
// chooses all.
func chosen(list []images.Image, names string) ([]string, error) {
	var known []string
	for _, i := range list {
		known = append(known, i.Name)
	}
	wanted := strings.Fields(names)
	for _, name := range wanted {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%w names %q, which images/matrix.json does not have; it has %s", errChoice, name, strings.Join(known, " "))
		}
	}
	return wanted, nil
}

// findImages takes over what scripts/images.sh has left out, with its reason, and leaves out what SIGNKIT_IMAGES does not name; any
// other image that is missing is an error.
func (s *setup) findImages() error {
	list, err := images.All()
	if err != nil {
		return err
	}
	wanted, err := chosen(list, os.Getenv("SIGNKIT_IMAGES"))
	if err != nil {
		return err
	}
	for _, i := range list {
		if len(wanted) > 0 && !slices.Contains(wanted, i.Name) {
			s.report.leftOut(i, namesOthers)
			continue
		}
		why, err := os.ReadFile(filepath.Join(root, "build", "images", "left-out", i.Name))
		if err == nil && len(wanted) > 0 {
			return fmt.Errorf("%w names %s, which is not built: %s", errChoice, i.Name, strings.TrimSpace(string(why)))
		}
		if err == nil {
			s.report.leftOut(i, string(why))
			continue
		}
		s.report.excused(i)
		s.images = append(s.images, image{i})
		for _, name := range (image{i}).all() {
			if _, err := s.pool.Client.InspectImage(name); err != nil {
				return fmt.Errorf("image %s is not built (make images): %w", name, err)
			}
		}
	}
	return nil
}

func (s *setup) tearDown() {
	fmt.Printf("%d commands ran in %d containers\n", s.kept.commands, s.kept.started)
	if err := s.removeKept(); err != nil {
		fmt.Fprintln(os.Stderr, "removing containers:", err)
	}
	for _, service := range s.all {
		if err := service.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping a mock service:", err)
		}
	}
	if s.network != nil {
		if err := s.network.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "removing the container network:", err)
		}
	}
	if err := os.RemoveAll(s.work); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// need skips a test that cannot run here. SIGNKIT_NO_SKIP=1 makes that a failure. The others run in parallel, so that none waits for
// the slowest part of another.
func need(t *testing.T) *setup {
	t.Helper()
	if shared.unavailable == "" {
		t.Parallel()
		return shared
	}
	if os.Getenv("SIGNKIT_NO_SKIP") == "1" {
		t.Fatalf("SIGNKIT_NO_SKIP=1, but: %s", shared.unavailable)
	}
	t.Skip(shared.unavailable)
	return nil
}

// needImage skips a test that is about certain images, where none of them is built here. Only those that SIGNKIT_IMAGES does not
// name may be missing with SIGNKIT_NO_SKIP=1.
func (s *setup) needImage(t *testing.T, names ...string) {
	t.Helper()
	if slices.ContainsFunc(s.images, func(i image) bool { return slices.Contains(names, i.Name) }) {
		return
	}
	wanted := strings.Fields(os.Getenv("SIGNKIT_IMAGES"))
	if len(wanted) > 0 && !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(wanted, name) }) {
		t.Skipf("it runs on %s, and %s", strings.Join(names, " or "), namesOthers)
	}
	if os.Getenv("SIGNKIT_NO_SKIP") == "1" {
		t.Fatalf("SIGNKIT_NO_SKIP=1, but it runs on %s, which is not built here", strings.Join(names, " or "))
	}
	t.Skipf("it runs on %s, which is not built here", strings.Join(names, " or "))
}

// image is one entry of images/matrix.json.
type image struct{ images.Image }

// tag is the image that runs a scenario: the one that people use, not the smallest one.
func (i image) tag(scenario string) string {
	if v, _ := i.Variant(scenario); v == images.Java {
		return "signkit:" + i.Tag(images.Java)
	}
	return "signkit:" + i.Tag(images.Full)
}

// verifier has the tools of a scenario, but nothing of signkit.
func (i image) verifier(scenario string) string {
	if v, _ := i.Variant(scenario); v == images.Java {
		return "signkit-verifier:" + i.Tag(images.Java)
	}
	return "signkit-verifier:" + i.Tag(images.Full)
}

// plain has openssl and nothing else that signs.
func (i image) plain() string { return "signkit-verifier:openssl-" + i.Name }

func (i image) all() []string {
	list := []string{"signkit-mockapi", i.plain()}
	for _, v := range images.Variants {
		list = append(list, "signkit:"+i.Tag(v), "signkit-verifier:"+i.Tag(v))
	}
	return list
}

// TestChosenImages: the tests and scripts/images.sh refuse the same names, so that a misspelt one never means "nothing to do".
func TestChosenImages(t *testing.T) {
	list, err := images.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		names string
		want  []string
		wrong string // the name that is refused
	}{
		{"", nil, ""},
		{" \n", nil, ""},
		{"debian-12", []string{"debian-12"}, ""},
		{" rhel-9\n\tdebian-12 ", []string{"rhel-9", "debian-12"}, ""},
		{"debian-12 debian-99", nil, "debian-99"},
		{"debian-12-core", nil, "debian-12-core"}, // a tag, no name
		{"debian-12,rhel-9", nil, "debian-12,rhel-9"},
		{"*", nil, "*"},
	} {
		got, err := chosen(list, test.names)
		if (err != nil) != (test.wrong != "") || !slices.Equal(got, test.want) {
			t.Errorf("%q chooses %q, %v; want %q", test.names, got, err, test.want)
		}
		if test.wrong == "" {
			continue
		}
		script := exec.CommandContext(within(t, commandLimit), filepath.Join(root, "scripts", "images.sh"))
		script.Env = append(os.Environ(), "SIGNKIT_IMAGES="+test.names)
		output, failed := script.CombinedOutput()
		want := fmt.Sprintf("SIGNKIT_IMAGES names %q, which images/matrix.json does not have; it has debian-11 ", test.wrong)
		for who, said := range map[string]string{"findImages": fmt.Sprint(err), "images.sh": string(output)} {
			if failed == nil || !strings.Contains(said, want) {
				t.Errorf("%q: %s says %q, want %q", test.names, who, said, want)
			}
		}
	}
}
