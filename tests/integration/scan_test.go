package integration

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// savedImage is an image as manifest.json of an archive names its parts.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// finding is something in an archive that no image should have. It never quotes what was found.
type finding struct {
	entry string // the layer or the description
	text  string
}

// scanner reads an archive that `docker save` wrote of several images, in which a layer that they share is there once.
type scanner struct {
	secrets  []string // texts that must be nowhere
	images   []savedImage
	read     map[string]bool   // entries of the archive
	links    map[string]string // entries that stand for others
	findings []finding
	setID    []finding // programs that change their user or group; whether they may is for the caller to say
}

// scan reads all layers and all descriptions, with what they tell of how the image was built. An archive that lacks a part of an
// image is an error, and so is one that has what cannot be read: what was not seen was not found clean.
func (s *scanner) scan(r io.Reader) error {
	s.read, s.links = map[string]bool{}, map[string]string{}
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return s.complete()
		}
		if err != nil {
			return fmt.Errorf("reading the archive: %w", err)
		}
		name := path.Clean(header.Name)
		switch header.Typeflag {
		case tar.TypeReg:
			if err := s.entry(name, archive); err != nil {
				return fmt.Errorf("reading %s of the archive: %w", name, err)
			}
			s.read[name] = true
		case tar.TypeSymlink:
			s.links[name] = path.Join(path.Dir(name), header.Linkname)
		}
	}
}

// resolve is the entry that a name of the manifest stands for.
func (s *scanner) resolve(name string) string {
	if target, found := s.links[path.Clean(name)]; found {
		return target
	}
	return path.Clean(name)
}

func (s *scanner) complete() error {
	for _, image := range s.images {
		for _, part := range append([]string{image.Config}, image.Layers...) {
			if !s.read[s.resolve(part)] {
				return fmt.Errorf("the archive lacks %s of %s", part, image.RepoTags)
			}
		}
	}
	return nil
}

// of lists the images that have an entry.
func (s *scanner) of(entry string) (tags []string) {
	for _, image := range s.images {
		parts := append([]string{image.Config}, image.Layers...)
		if slices.ContainsFunc(parts, func(part string) bool { return s.resolve(part) == entry }) {
			tags = append(tags, image.RepoTags...)
		}
	}
	return tags
}

// entry tells layers from descriptions by how they begin: engines differ in how they name them, and whether they compress them.
func (s *scanner) entry(name string, r io.Reader) error {
	content := bufio.NewReader(r)
	start, _ := content.Peek(2)
	switch {
	case path.Base(name) == "VERSION":
		return nil
	case bytes.HasPrefix(start, []byte("{")), bytes.HasPrefix(start, []byte("[")):
		return s.description(name, content)
	case bytes.Equal(start, []byte{0x1f, 0x8b}):
		unpacked, err := gzip.NewReader(content)
		if err != nil {
			return err
		}
		return s.layer(name, unpacked)
	}
	return s.layer(name, content)
}

func (s *scanner) description(name string, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if name == "manifest.json" {
		return json.Unmarshal(data, &s.images)
	}
	var content any
	if err := json.Unmarshal(data, &content); err != nil {
		return err
	}
	eachText(content, func(text string) {
		for _, fault := range s.textFaults(text) {
			// A variable is in the settings and in every later step of the history.
			if f := (finding{name, "its description " + fault}); !slices.Contains(s.findings, f) {
				s.findings = append(s.findings, f)
			}
		}
	})
	return nil
}

// eachText calls visit for each text in a JSON value; a member with a text is one, too, so that a label is NAME=VALUE as a
// variable is.
func eachText(value any, visit func(string)) {
	switch value := value.(type) {
	case string:
		visit(value)
	case []any:
		for _, v := range value {
			eachText(v, visit)
		}
	case map[string]any:
		for name, v := range value {
			if text, is := v.(string); is {
				v = name + "=" + text
			}
			eachText(v, visit)
		}
	}
}

func (s *scanner) layer(name string, r io.Reader) error {
	var data bytes.Buffer
	for layer := tar.NewReader(r); ; {
		header, err := layer.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if header.Typeflag == tar.TypeDir {
			continue
		}
		data.Reset()
		if _, err := data.ReadFrom(layer); err != nil {
			return err
		}
		file, mode := path.Clean(header.Name), header.FileInfo().Mode()
		for _, fault := range s.fileFaults(file, mode, data.Bytes()) {
			s.findings = append(s.findings, finding{name, file + " " + fault})
		}
		if mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			s.setID = append(s.setID, finding{name, fmt.Sprintf("%s changes its user or group (%s)", file, mode)})
		}
	}
}

var (
	// assigned are variables, build arguments and options that hold a secret by their name, with a value that refers to no variable.
	assigned = regexp.MustCompile(`(?i)[\w.-]*(token|secret|password|passwd|passphrase|credential|api_?key|_pin)[\w.-]*["']?=["']?[^\s"'$]`)
	// login is an address with a name and a password, such as a proxy's.
	login = regexp.MustCompile(`://[^/@\s:"']+:[^/@\s"'$]+@`)
	// tokenLine is a line that gives signkit its token. In programs, unrelated texts stand side by side, so it is for other files.
	tokenLine = regexp.MustCompile(`SIGNPATH_API_TOKEN["']?\s*[=:]\s*["']?[A-Za-z0-9+/_=-]{16}`)
	// privateKey is a PEM or OpenPGP one, alone or as a text in JSON; programs have the first line alone.
	privateKey = regexp.MustCompile(`-----BEGIN ([A-Z]+ )*PRIVATE KEY( BLOCK)?-----(\s|\\[nr])+[A-Za-z0-9+/=:,. -]{16}`)
	// keyFile has a secret by its name.
	keyFile = regexp.MustCompile(`(^|/)(private-keys-v1\.d/[^/]+|secring\.gpg|\.netrc|id_(rsa|ecdsa|ed25519)|[^/]+\.(p12|pfx))$`)
	// testKeys are GnuTLS, which tests itself with private keys that it has in it.
	testKeys = regexp.MustCompile(`^usr/(bin/gnutls-cli|lib(64)?/([\w-]+/)?libgnutls\.so\.[0-9.]+)$`)
	// compiler has no place in an image that only signs. gcc's programs have the machine in their names; gcc itself is a link.
	compiler = regexp.MustCompile(`(bin/(\w+-linux-gnu\w*-)?(gcc|cc|g\+\+|c\+\+|clang(\+\+)?|tcc|go|rustc)|/cc1(plus)?)(-[0-9.]+)?$`)
)

func (s *scanner) textFaults(text string) (faults []string) {
	if s.hasSecret([]byte(text)) {
		faults = append(faults, "holds an API token")
	}
	if name, _, found := strings.Cut(assigned.FindString(text), "="); found {
		faults = append(faults, "sets "+name)
	}
	if login.MatchString(text) {
		faults = append(faults, "has an address with a password")
	}
	if privateKey.MatchString(text) {
		faults = append(faults, "holds a private key")
	}
	return faults
}

func (s *scanner) fileFaults(name string, mode fs.FileMode, data []byte) (faults []string) {
	if compiler.MatchString(name) && mode&0o111 != 0 {
		faults = append(faults, "is a compiler")
	}
	if keyFile.MatchString(name) || privateKey.Match(data) && !testKeys.MatchString(name) {
		faults = append(faults, "holds a private key")
	}
	if program := bytes.HasPrefix(data, []byte("\x7fELF")); s.hasSecret(data) || !program && tokenLine.Match(data) {
		faults = append(faults, "holds an API token")
	}
	return faults
}

func (s *scanner) hasSecret(data []byte) bool {
	return slices.ContainsFunc(s.secrets, func(secret string) bool { return secret != "" && bytes.Contains(data, []byte(secret)) })
}

// file is one of an archive that a test makes up.
type file struct {
	name string
	mode int64
	data string
	link string // what it points to, for a symbolic link
}

func tarOf(t *testing.T, files ...file) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}
		if f.link != "" {
			header.Typeflag, header.Linkname = tar.TypeSymlink, f.link
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipOf(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestLayersScanner: what TestLayers looks for is found wherever an image can have it, and nothing else is.
func TestLayersScanner(t *testing.T) {
	const secret = "dG9rZW4+b2Yg/YSB0ZXN0Cg="
	const pem = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIAABAgMEBQYHCAkKCwwNDg8Q\n"
	history := func(text string) string {
		line, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		return `{"config":{"Env":["PATH=/usr/bin"]},"history":[{"created_by":` + string(line) + `}]}`
	}
	for _, test := range []struct {
		name   string
		config string // of the image
		file   file   // of its second layer
		want   string // empty: nothing
	}{
		{name: "nothing"},
		{name: "token by ENV", config: `{"config":{"Env":["A=` + secret + `"]}}`, want: "config its description holds an API token"},
		{name: "token by a label", config: `{"config":{"Labels":{"a":"` + secret + `"}}}`, want: "config its description holds an API token"},
		{name: "token, escaped", config: `{"config":{"Env":["A=` + strings.ReplaceAll(secret, "+", `\u002b`) + `"]}}`, want: "config its description holds an API token"},
		{name: "token in the history", config: history("/bin/sh -c #(nop)  ENV A=" + secret), want: "config its description holds an API token"},
		{name: "unknown token by ENV", config: `{"config":{"Env":["SIGNPATH_API_TOKEN=x"]}}`, want: "config its description sets SIGNPATH_API_TOKEN"},
		{name: "unknown token by ARG", config: history("|2 PINS= API_TOKEN=x /bin/sh -c set -eux; signkit version"), want: "config its description sets API_TOKEN"},
		{name: "ARG with a default", config: history("ARG API_TOKEN=x"), want: "config its description sets API_TOKEN"},
		{name: "password by a label", config: `{"config":{"Labels":{"password":"x"}}}`, want: "config its description sets password"},
		{name: "option", config: history(`RUN tool --user=me --passphrase="x" # buildkit`), want: "config its description sets --passphrase"},
		{name: "proxy", config: history("|1 http_proxy=http://me:x@proxy:3128 /bin/sh -c true"), want: "config its description has an address with a password"},
		{name: "key by ENV", config: history("ENV KEY=" + pem), want: "config its description holds a private key"},
		{name: "ARG without value", config: history("ARG API_TOKEN=")},
		{name: "variable", config: history(`RUN SIGNPATH_API_TOKEN="$OTHER" true`)},
		{name: "ordinary arguments", config: history("|3 PINS=a/b CORE=ca-certificates p11-kit http_proxy=http://proxy:3128 /bin/sh -c openssl version")},
		{name: "token in a file", file: file{name: "usr/bin/x", data: "\x00" + secret + "\x00"}, want: "layer usr/bin/x holds an API token"},
		{name: "settings", file: file{name: "etc/x", data: "export SIGNPATH_API_TOKEN='0123456789abcdef'\n"}, want: "layer etc/x holds an API token"},
		{name: "settings' name in a program", file: file{name: "usr/bin/x", data: "\x7fELFSIGNPATH_API_TOKEN=0123456789abcdefghij"}},
		{name: "token in a program", file: file{name: "usr/bin/x", data: "\x7fELF" + secret}, want: "layer usr/bin/x holds an API token"},
		{name: "workflow", file: file{name: "x.yml", data: "SIGNPATH_API_TOKEN: ${{ secrets.SIGNPATH_API_TOKEN }}\n"}},
		{name: "key", file: file{name: "usr/lib/x", data: "x" + pem}, want: "layer usr/lib/x holds a private key"},
		{name: "key in JSON", file: file{name: "x", data: strings.ReplaceAll(pem, "\n", `\n`)}, want: "layer x holds a private key"},
		{name: "key of GnuTLS's own tests", file: file{name: "usr/lib/x86_64-linux-gnu/libgnutls.so.30.40.3", data: pem}},
		{name: "key beside GnuTLS", file: file{name: "usr/lib/x86_64-linux-gnu/libgnutls.so.30.pem", data: pem}, want: "layer usr/lib/x86_64-linux-gnu/libgnutls.so.30.pem holds a private key"},
		{name: "OpenPGP key", file: file{name: "x", data: "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOYBGAAAAABCADAAAAAAAAA\n"}, want: "layer x holds a private key"},
		{name: "gpg's key", file: file{name: "root/.gnupg/private-keys-v1.d/0.key"}, want: "layer root/.gnupg/private-keys-v1.d/0.key holds a private key"},
		{name: "program that reads keys", file: file{name: "usr/bin/x", data: "-----BEGIN PRIVATE KEY-----\x00-----END PRIVATE KEY-----\n"}},
		{name: "compiler", file: file{name: "usr/bin/x86_64-linux-gnu-gcc-14", mode: 0o755}, want: "layer usr/bin/x86_64-linux-gnu-gcc-14 is a compiler"},
		{name: "compiler's link", file: file{name: "usr/bin/gcc", mode: 0o777, link: "gcc-14"}, want: "layer usr/bin/gcc is a compiler"},
		{name: "shell of that name", file: file{name: "usr/bin/go-lint", mode: 0o755}},
		{name: "set-uid", file: file{name: "usr/bin/x", mode: 0o4755}, want: "set-ID layer usr/bin/x changes its user or group (urwxr-xr-x)"},
		{name: "set-gid", file: file{name: "usr/bin/x", mode: 0o2755}, want: "set-ID layer usr/bin/x changes its user or group (grwxr-xr-x)"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.config == "" {
				test.config = `{"config":{}}`
			}
			if test.file.name == "" {
				test.file.name = "usr/bin/signkit"
			}
			layer := tarOf(t, file{name: "etc/first"}, test.file)
			for how, content := range map[string]string{"plain": layer, "compressed": gzipOf(t, layer)} {
				s := &scanner{secrets: []string{"", secret}}
				err := s.scan(strings.NewReader(tarOf(t,
					file{name: "base/layer.tar", data: tarOf(t)},
					file{name: "other/layer.tar", link: "../base/layer.tar"},
					file{name: "layer", data: content}, file{name: "config", data: test.config},
					file{name: "manifest.json", data: `[{"Config":"config","RepoTags":["a:b"],"Layers":["other/layer.tar","layer"]}]`},
				)))
				var got []string
				for _, f := range s.findings {
					got = append(got, f.entry+" "+f.text)
				}
				for _, f := range s.setID {
					got = append(got, "set-ID "+f.entry+" "+f.text)
				}
				if err != nil || strings.Join(got, "\n") != test.want {
					t.Errorf("%s: found %q, %v; want %q", how, got, err, test.want)
				}
				if tags := s.of("base/layer.tar"); !slices.Equal(tags, []string{"a:b"}) {
					t.Errorf("%s: the linked layer is one of %q", how, tags)
				}
				if strings.Contains(fmt.Sprint(got), secret) {
					t.Error("the finding shows the token")
				}
			}
		})
	}
}

// TestLayersScannerReadsAll: an archive with a part that is missing or cannot be read is never clean.
func TestLayersScannerReadsAll(t *testing.T) {
	empty := tarOf(t)
	manifest := file{name: "manifest.json", data: `[{"Config":"config","RepoTags":["a:b"],"Layers":["layer"]}]`}
	for _, test := range []struct {
		name  string
		files []file
		want  string
	}{
		{"all", []file{{name: "layer", data: empty}, {name: "config", data: "{}"}, manifest}, ""},
		{"no layer", []file{{name: "config", data: "{}"}, manifest}, "lacks layer of [a:b]"},
		{"no description", []file{{name: "layer", data: empty}, manifest}, "lacks config of [a:b]"},
		{"link to nothing", []file{{name: "layer", link: "x"}, {name: "config", data: "{}"}, manifest}, "lacks layer of [a:b]"},
		{"other compression", []file{{name: "layer", data: "\x28\xb5\x2f\xfd" + strings.Repeat("x", 1020)}}, "reading layer of the archive"},
		{"broken compression", []file{{name: "layer", data: "\x1f\x8bx"}}, "reading layer of the archive"},
		{"broken description", []file{{name: "config", data: "{"}}, "reading config of the archive"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := (&scanner{}).scan(strings.NewReader(tarOf(t, test.files...)))
			if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("ended with %v, want %q", err, test.want)
			}
		})
	}
}
