package integration

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"

	"signkit/images"
)

// setID are the programs of a Debian base, and of what it installs, that change their user or group.
var setID = regexp.MustCompile(`^(chage|chfn|chsh|expiry|gpasswd|mount|newgrp|passwd|su|umount|unix_chkpwd|ssh-agent|dbus-daemon-launch-helper)$`)

// compilers have no place in an image that only signs.
var compilers = regexp.MustCompile(`^(gcc|cc|g\+\+|clang|go|rustc)(-[0-9]+)?$`)

// TestLayers reads every file of every layer: no token of this machine's tests, no key, no compiler, and no program that
// changes its user beyond those of the base.
func TestLayers(t *testing.T) {
	s := need(t)
	var tokens []string
	for _, service := range s.all {
		tokens = append(tokens, service.setting("SIGNPATH_API_TOKEN"))
	}
	for _, img := range s.images {
		t.Run(img.Tag(images.Core), func(t *testing.T) {
			t.Parallel()
			save := exec.CommandContext(t.Context(), "docker", "save", "signkit:"+img.Tag(images.Core))
			stream, err := save.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := save.Start(); err != nil {
				t.Fatal(err)
			}
			layers, err := readLayers(stream, func(name string, mode os.FileMode, data []byte) {
				checkFile(t, path.Clean(name), mode, data, tokens)
			})
			if err := errors.Join(err, save.Wait()); err != nil {
				t.Fatal(err)
			}
			if layers < 3 {
				t.Errorf("only %d layers were read", layers)
			}
		})
	}
}

// readLayers calls visit for each regular file of each layer of an archive that `docker save` wrote.
func readLayers(r io.Reader, visit func(name string, mode os.FileMode, data []byte)) (layers int, err error) {
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return layers, nil
		}
		if err != nil {
			return layers, err
		}
		if path.Base(header.Name) != "layer.tar" && !strings.HasPrefix(header.Name, "blobs/sha256/") {
			continue
		}
		if err := readLayer(archive, visit); err != nil {
			continue // a description, not a layer
		}
		layers++
	}
}

func readLayer(r io.Reader, visit func(name string, mode os.FileMode, data []byte)) error {
	for layer := tar.NewReader(r); ; {
		header, err := layer.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a layer: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(layer)
		if err != nil {
			return err
		}
		visit(header.Name, header.FileInfo().Mode(), data)
	}
}

// privateKey is how PEM files with one begin; libraries have the words, too.
var privateKey = regexp.MustCompile(`-----BEGIN ([A-Z]+ )?PRIVATE KEY-----`)

func checkFile(t *testing.T, name string, mode os.FileMode, data []byte, tokens []string) {
	base := path.Base(name)
	if mode&(os.ModeSetuid|os.ModeSetgid) != 0 && !setID.MatchString(base) {
		t.Errorf("%s changes its user or group (%s)", name, mode)
	}
	if compilers.MatchString(base) && mode&0o111 != 0 && strings.Contains(name, "bin/") {
		t.Errorf("%s is a compiler", name)
	}
	if privateKey.Match(data) && !strings.HasPrefix(name, "usr/lib/") && !strings.HasPrefix(name, "usr/bin/") {
		t.Errorf("%s holds a private key", name)
	}
	for _, token := range tokens {
		if token != "" && bytes.Contains(data, []byte(token)) {
			t.Errorf("%s holds an API token", name)
		}
	}
}

// TestNonRoot: the image starts as a numeric user and signs, with a home of its own and as a uid that OpenShift would pick.
func TestNonRoot(t *testing.T) {
	s := need(t)
	for _, u := range []user{{name: "own"}, {name: "random-uid", id: "1000650000:0", readOnly: true}} {
		s.each(t, s.inAll([]user{u}, cell{sample: "git", form: "nonroot", key: "demo/gpg-rsa-4096"}), func(w *workplace) {
			w.write("file", "content\n")
			got := w.setup.run(w.T, container{
				image: w.image.tag(w.sample) + "-nonroot", user: w.user, network: true, env: w.service.settings(),
				binds:   append(w.service.binds(), w.dir+":/work"),
				command: []string{"bash", "-euc", "id -u; signkit sign --key demo/gpg-rsa-4096 file"},
			})
			want := "10001\n"
			if w.user.id != "" {
				want = "1000650000\n"
			}
			if got.code != 0 || got.stdout != want {
				w.Errorf("ended with %d as %q", got.code, got.stdout)
			}
		})
	}
}
