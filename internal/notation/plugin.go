package notation

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"signkit/internal/version"
)

// Plugin is what one process knows of its surroundings.
type Plugin struct {
	Program   string   // os.Args[0]: notation calls the file notation-NAME and expects NAME in the metadata
	Environ   []string // as os.Environ
	Directory string   // where relative paths in settings begin
	Parent    int      // process that asks: notation
	Stdin     io.Reader
	Stdout    io.Writer
	Stderr    io.Writer
}

// Run runs one command of the contract and returns the exit status of the process.
func (p *Plugin) Run(ctx context.Context, args []string) int {
	commands := map[string]func(context.Context, *request) (any, error){
		"get-plugin-metadata": p.metadata,
		"describe-key":        p.describeKey,
		"generate-signature":  p.generateSignature,
	}
	if len(args) == 1 && (args[0] == "version" || args[0] == "--version") {
		fmt.Fprintln(p.Stdout, "notation-signkit", version.Version)
		return 0
	}
	if len(args) != 1 || commands[args[0]] == nil {
		writeFailure(p.Stderr, invalid("notation-signkit is a plugin that notation calls; its commands are get-plugin-metadata, "+
			"describe-key, generate-signature and version"))
		return 1
	}
	answer, err := p.answer(ctx, commands[args[0]])
	if err != nil {
		writeFailure(p.Stderr, err)
		return 1
	}
	if _, err := p.Stdout.Write(answer); err != nil {
		writeFailure(p.Stderr, fmt.Errorf("writing the answer: %w", err))
		return 1
	}
	return 0
}

func (p *Plugin) answer(ctx context.Context, command func(context.Context, *request) (any, error)) ([]byte, error) {
	q, err := readRequest(p.Stdin)
	if err != nil {
		return nil, err
	}
	answer, err := command(ctx, q)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

// metadata needs no settings: notation asks it of every plugin that it lists.
func (p *Plugin) metadata(context.Context, *request) (any, error) {
	return metadata{
		Name:                      p.name(),
		Description:               "Sign with keys that stay in the signing service",
		Version:                   semanticVersion(),
		URL:                       "https://signpath.io",
		SupportedContractVersions: []string{contractVersion},
		Capabilities:              []string{"SIGNATURE_GENERATOR.RAW"},
	}, nil
}

// name is that of the file, so that a link notation-signpath serves scripts written for the vendor's plugin.
func (p *Plugin) name() string {
	if name, ok := strings.CutPrefix(filepath.Base(p.Program), "notation-"); ok && name != "" {
		return name
	}
	return "signkit"
}

// semanticVersion is what notation compares when a plugin is installed over an older one.
func semanticVersion() string {
	if version.Version == "dev" {
		return "0.0.0-dev"
	}
	return version.Version
}

func (p *Plugin) describeKey(ctx context.Context, q *request) (any, error) {
	if err := q.check("keyId"); err != nil {
		return nil, err
	}
	s, err := p.open(ctx, q)
	if err != nil {
		return nil, err
	}
	defer s.close()
	return keyDescription{KeyID: q.KeyID, KeySpec: s.spec.name}, nil
}

func (p *Plugin) generateSignature(ctx context.Context, q *request) (any, error) {
	if err := q.check("keyId", "keySpec", "hashAlgorithm", "payload"); err != nil {
		return nil, err
	}
	s, err := p.open(ctx, q)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if q.KeySpec != s.spec.name || q.HashAlgorithm != s.spec.hashName {
		return nil, invalid("%s is a key of the kind %s, to be used with %s; the request says %s and %s",
			q.KeyID, s.spec.name, s.spec.hashName, q.KeySpec, q.HashAlgorithm)
	}
	// The chain first: an envelope without it is of no use, and a signature costs.
	chain, err := s.fullChain(ctx)
	if err != nil {
		return nil, err
	}
	signature, err := s.sign(ctx, q.Payload)
	if err != nil {
		return nil, err
	}
	return rawSignature{KeyID: q.KeyID, Signature: signature, SigningAlgorithm: s.spec.algorithm, CertificateChain: chain}, nil
}
