package integration

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// containerTools builds cosign and notation, or finds them built, and says where they are.
var containerTools = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(root, "scripts", "container-tools.sh"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), err
})

// mounted is what containers need for a sample besides what images have.
func mounted(t *testing.T, sample string) []string {
	t.Helper()
	if sample != "cosign" && sample != "notation" {
		return nil
	}
	folder, err := containerTools()
	if err != nil {
		t.Fatalf("building cosign and notation (scripts/container-tools.sh): %v", err)
	}
	return []string{filepath.Join(folder, sample) + ":/usr/local/bin/" + sample + ":ro"}
}

// registryFor starts a registry, without TLS, that containers reach, with a number of images in it. It returns their names, by
// digest. The registry ends with the test.
func (w *workplace) registryFor(number int) []string {
	w.Helper()
	host, err := w.setup.host()
	if err != nil {
		w.Fatal(err)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		w.Fatal(err)
	}
	server := &http.Server{
		Handler:           registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(true)),
		ReadHeaderTimeout: time.Minute,
	}
	go func() { _ = server.Serve(listener) }()
	w.Cleanup(func() { _ = server.Close() })

	var references []string
	for i := range number {
		image, err := random.Image(512, 1)
		if err != nil {
			w.Fatal(err)
		}
		tag, err := name.ParseReference(fmt.Sprintf("%s/demo/app:v%d", listener.Addr(), i), name.Insecure)
		if err != nil {
			w.Fatal(err)
		}
		if err := remote.Write(tag, image); err != nil {
			w.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			w.Fatal(err)
		}
		references = append(references, tag.Context().Name()+"@"+digest.String())
	}
	return references
}

// judgeOnline is judge for signatures in a registry: with a network, and with the programs mounted for the sample.
func (w *workplace) judgeOnline(prepare string, checks ...check) {
	w.Helper()
	script, want := questions(w.sample, prepare, checks)
	judged := w.setup.run(w.T, container{
		image: w.image.verifier(w.sample), network: true, dir: w.dir, command: []string{"bash", "-c", script},
		binds: append([]string{samplesForVerifiers(w.T)}, mounted(w.T, w.sample)...),
	})
	if judged.stdout != want {
		w.Errorf("verification says\n%swant\n%s", judged.stdout, want)
	}
}
