package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"signkit/internal/mockapi"
)

const (
	batchKey    = "demo/gpg-rsa-3072"
	batchFiles  = 200 // packages of each kind
	batchRounds = 5   // a round takes as long as a hundred signatures of other groups
)

// wholeBatch: signkit sign of many small packages, beside another build of signkit, which --other-build names. Without it there is
// nothing to compare with, and no row.
func wholeBatch(b *bench) ([]row, error) {
	if b.otherBuild == "" {
		fmt.Fprintln(os.Stderr, "bench: batch is left out: --other-build names no build to compare with")
		return nil, nil
	}
	service, err := mockapi.Start(mockapi.Options{StateDir: filepath.Join(b.dir, "batch-state"), Config: batchConfig()})
	if err != nil {
		return nil, err
	}
	defer b.stop(service)
	if err := service.SetFaults([]mockapi.Fault{{Route: "sign", Kind: "delay", MS: 100, Count: -1}}); err != nil {
		return nil, err
	}
	packages, err := b.smallPackages()
	if err != nil {
		return nil, err
	}
	env := append(b.environment(service), "HOME="+b.dir, "SIGNPATH_LOG_CONSOLE_LEVEL=none")
	runs := b.runs
	b.runs = min(runs, batchRounds)
	defer func() { b.runs = runs }()
	side := func(build string) func(samples) error {
		return func(into samples) error { return b.signBatch(into, env, build, packages) }
	}
	ours, other, err := b.alternate(side(filepath.Dir(b.module)), side(b.otherBuild))
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("signkit sign, %d rpm and %d deb, service delay 100 ms", batchFiles, batchFiles)
	return []row{compare(name, "s", b.otherBuild, ours["seconds"], other["seconds"]).ratio(0.5)}, nil
}

// batchConfig has the one key.
func batchConfig() *mockapi.Config {
	cfg := mockapi.DefaultConfig()
	organization := &cfg.Organizations[0]
	organization.Certificates = []mockapi.Certificate{{Slug: "gpg-rsa-3072", Type: "Gpg", KeyType: "Rsa", KeySizeInBits: 3072}}
	project := &organization.Projects[0]
	policy := project.Policies[0]
	policy.Slug, policy.Certificate = "gpg-rsa-3072", "gpg-rsa-3072"
	project.Policies = []mockapi.Policy{policy}
	return cfg
}

// smallPackages makes one package of each kind.
func (b *bench) smallPackages() ([]string, error) {
	top := filepath.Join(b.dir, "packages")
	control := filepath.Join(top, "deb", "DEBIAN")
	if err := os.MkdirAll(control, 0o755); err != nil {
		return nil, err
	}
	spec := filepath.Join(top, "small.spec")
	deb := filepath.Join(top, "small.deb")
	err := errors.Join(
		os.WriteFile(spec, []byte("Name: small\nVersion: 1\nRelease: 1\nSummary: small\nLicense: MIT\nBuildArch: noarch\n%description\nsmall\n%files\n"), 0o644),
		os.WriteFile(filepath.Join(control, "control"),
			[]byte("Package: small\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.com>\nDescription: small\n"), 0o644))
	if err == nil {
		_, err = b.output(b.env, "rpmbuild", "--quiet", "--define", "_topdir "+top, "-bb", spec)
	}
	if err == nil {
		_, err = b.output(b.env, "dpkg-deb", "--root-owner-group", "--build", filepath.Dir(control), deb)
	}
	return []string{filepath.Join(top, "RPMS", "noarch", "small-1-1.noarch.rpm"), deb}, err
}

// signBatch signs copies that nobody has signed.
func (b *bench) signBatch(into samples, env []string, build string, packages []string) error {
	dir, err := os.MkdirTemp(b.dir, "batch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var files []string
	for _, source := range packages {
		data, err := os.ReadFile(source)
		if err != nil {
			return err
		}
		for i := range batchFiles {
			file := filepath.Join(dir, fmt.Sprintf("small-%d%s", i, filepath.Ext(source)))
			if err := os.WriteFile(file, data, 0o644); err != nil {
				return err
			}
			files = append(files, file)
		}
	}
	begin := time.Now()
	_, err = b.output(env, filepath.Join(build, "signkit"), append([]string{"sign", "--key", batchKey, "--jobs", "8"}, files...)...)
	into.add("seconds", time.Since(begin).Seconds())
	return err
}
