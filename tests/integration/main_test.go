// Package integration runs real signing tools in containers against the mock signing service, over TLS, and verifies what
// they signed in a container that has nothing of this project. Images are built before (make integration does).
package integration

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"

	"signkit/images"
)

// root is the repository, seen from this folder.
const root = "../.."

// image is one entry of images/matrix.json.
type image struct{ images.Image }

func (i image) tool() string     { return "signkit:" + i.Name }
func (i image) verifier() string { return "signkit-verifier:openssl-" + i.Name }

// setup is what all tests of a run share; only TestMain makes one.
type setup struct {
	unavailable string // why no container test can run; empty if they can
	pool        *dockertest.Pool
	network     *dockertest.Network
	service     *service
	images      []image
	report      report

	certificates map[string]string // PEM by image and key, once fetched
}

var shared = &setup{certificates: map[string]string{}}

func TestMain(m *testing.M) {
	os.Exit(shared.main(m))
}

func (s *setup) main(m *testing.M) int {
	defer s.tearDown()
	if err := s.start(); err != nil {
		s.unavailable = err.Error()
	}
	code := m.Run()
	if err := s.report.write(filepath.Join(root, "build", "reports", "scenarios.json")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func (s *setup) start() error {
	if reason := os.Getenv("SIGNKIT_NO_ENGINE"); reason != "" {
		return fmt.Errorf("%s", reason)
	}
	var err error
	if s.pool, err = dockertest.NewPool(""); err != nil {
		return fmt.Errorf("no Docker engine: %w", err)
	}
	if err := s.pool.Client.Ping(); err != nil {
		return fmt.Errorf("no Docker engine answers: %w", err)
	}
	if s.images, err = readMatrix(); err != nil {
		return err
	}
	if err := s.checkImages(); err != nil {
		return err
	}
	if s.network, err = s.pool.CreateNetwork(fmt.Sprintf("signkit-integration-%d", os.Getpid())); err != nil {
		return fmt.Errorf("making a container network: %w", err)
	}
	s.service, err = startService(s.pool, s.network)
	return err
}

func (s *setup) checkImages() error {
	needed := []string{"signkit-mockapi"}
	for _, i := range s.images {
		needed = append(needed, i.tool(), i.verifier())
	}
	for _, name := range needed {
		if _, err := s.pool.Client.InspectImage(name); err != nil {
			return fmt.Errorf("image %s is not built (make images): %w", name, err)
		}
	}
	return nil
}

func (s *setup) tearDown() {
	if s.service != nil {
		s.service.stop()
	}
	if s.network != nil {
		if err := s.network.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "removing the container network:", err)
		}
	}
}

// need skips a test that cannot run here. SIGNKIT_NO_SKIP=1 makes that a failure.
func need(t *testing.T) *setup {
	t.Helper()
	if shared.unavailable == "" {
		return shared
	}
	if os.Getenv("SIGNKIT_NO_SKIP") == "1" {
		t.Fatalf("SIGNKIT_NO_SKIP=1, but: %s", shared.unavailable)
	}
	t.Skip(shared.unavailable)
	return nil
}

// readMatrix leaves out what is not built anywhere yet.
func readMatrix() ([]image, error) {
	all, err := images.All()
	var list []image
	for _, i := range all {
		if i.NotYet == "" {
			list = append(list, image{i})
		}
	}
	return list, err
}

// deadline bounds one container run.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}
