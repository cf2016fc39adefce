package cli

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"signkit/internal/signpath"
)

// hashRequest is what sign-hash was asked: the flags, and then the digest.
type hashRequest struct {
	algorithm, file, padding, format string
	output, encoding                 string

	key    keyName
	hash   crypto.Hash
	digest []byte
}

func newSignHashCommand(a *app) *cobra.Command {
	var r hashRequest
	cmd := &cobra.Command{
		Use:   "sign-hash [PROJECT/POLICY] HEX | --file FILE",
		Short: "Sign a hash, or the hash of a file",
		Long: `Have the service sign a hash, given as hexadecimal digits or computed from --file, which is
read locally and not sent. The signature is verified before it is written.

An RSA signature is PKCS#1 v1.5, or PSS with a salt as long as the hash. An ECDSA
signature is a DER SEQUENCE, or r and s side by side (IEEE P1363).`,
		Example: `  signkit sign-hash my-project/release-signing --file app.tar.gz --output app.tar.gz.sig
  signkit sign-hash my-project/release-signing --hash-algorithm sha384 --padding pss 3fed…`,
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: a.completeKeys,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.parse(a, args); err != nil {
				return err
			}
			return a.signHash(cmd.Context(), &r)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.algorithm, "hash-algorithm", "sha256", "`NAME`: sha256, sha384, sha512, sha1")
	flags.StringVar(&r.file, "file", "", "hash `FILE` (- is standard input) instead of giving HEX")
	flags.StringVar(&r.padding, "padding", "pkcs1", "padding of an RSA signature: pkcs1 or pss")
	flags.StringVar(&r.format, "signature-format", "asn1", "form of an ECDSA signature: asn1 or p1363")
	flags.StringVarP(&r.output, "output", "o", "", "write to `FILE` instead of standard output")
	flags.StringVar(&r.encoding, "encoding", "", "raw (the default with --output), base64 (the default without) or hex")
	a.jsonFlag(cmd)
	return cmd
}

func hashAlgorithms() map[string]crypto.Hash {
	return map[string]crypto.Hash{
		"sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512,
	}
}

// parse checks all that needs no service, and computes the digest.
func (r *hashRequest) parse(a *app, args []string) error {
	var known bool
	if r.hash, known = hashAlgorithms()[strings.ToLower(strings.ReplaceAll(r.algorithm, "-", ""))]; !known {
		return usageError("--hash-algorithm %s: choose sha256, sha384, sha512 or sha1", r.algorithm)
	}
	for _, choice := range []struct {
		flag, value string
		allowed     []string
	}{
		{"--padding", r.padding, []string{"pkcs1", "pss"}},
		{"--signature-format", r.format, []string{"asn1", "p1363"}},
		{"--encoding", r.encoding, []string{"", "raw", "base64", "hex"}},
	} {
		if !slices.Contains(choice.allowed, choice.value) {
			return usageError("%s %s: choose one of %s", choice.flag, choice.value, strings.TrimSpace(strings.Join(choice.allowed, " ")))
		}
	}
	return r.parseArguments(a, args)
}

func (r *hashRequest) parseArguments(a *app, args []string) error {
	var err error
	if r.file != "" {
		if len(args) == 2 {
			return withHint(usageError("both HEX and --file are given"), "leave one of them out")
		}
		if r.key, err = a.keyName(args); err != nil {
			return err
		}
		r.digest, err = a.hashFile(r.hash, r.file)
		return err
	}
	if len(args) == 0 || strings.Contains(args[len(args)-1], "/") {
		return withHint(usageError("there is nothing to sign"), "give the hash as hexadecimal digits, or a file with --file")
	}
	if r.key, err = a.keyName(args[:len(args)-1]); err != nil {
		return err
	}
	if r.digest, err = hex.DecodeString(args[len(args)-1]); err != nil {
		return usageError("the hash is not written in hexadecimal digits: %w", err)
	}
	if len(r.digest) != r.hash.Size() {
		return withHint(usageError("the hash has %d bytes, %s has %d", len(r.digest), r.algorithm, r.hash.Size()),
			"check --hash-algorithm")
	}
	return nil
}

// hashFile computes the digest of a file; "-" is standard input.
func (a *app) hashFile(hash crypto.Hash, path string) ([]byte, error) {
	input := a.stdin
	if path != "-" {
		f, err := os.Open(a.absolute(path))
		if err != nil {
			return nil, withHint(fmt.Errorf("reading the data to sign: %w", err), "check --file")
		}
		defer f.Close()
		input = f
	}
	h := hash.New()
	if _, err := io.Copy(h, input); err != nil {
		return nil, fmt.Errorf("reading the data to sign: %w", err)
	}
	return h.Sum(nil), nil
}

func (a *app) signHash(ctx context.Context, r *hashRequest) error {
	key, err := a.key(ctx, r.key)
	if err != nil {
		return err
	}
	opts, err := r.options(key.Public())
	if err != nil {
		return err
	}
	a.warnCertificate(key)
	signature, err := key.SignContext(ctx, r.digest, opts)
	if err != nil {
		return err
	}
	if !a.ui.json {
		return a.write(r.output, r.encode(signature))
	}
	if r.output != "" {
		if err := a.write(r.output, r.encode(signature)); err != nil {
			return err
		}
	}
	return a.ui.document(r.document(key, signature))
}

func (r *hashRequest) options(public crypto.PublicKey) (crypto.SignerOpts, error) {
	if _, ok := public.(*ecdsa.PublicKey); ok {
		if r.padding == "pss" {
			return nil, usageError("--padding pss is for RSA; %s has a key of type %s", r.key, keyType(public))
		}
		if r.format == "p1363" {
			return signpath.ECDSAOptions{Hash: r.hash, Format: signpath.P1363}, nil
		}
		return r.hash, nil
	}
	if r.padding == "pss" {
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: r.hash}, nil
	}
	return r.hash, nil
}

func (r *hashRequest) encode(signature []byte) []byte {
	switch {
	case r.encoding == "hex":
		return []byte(hex.EncodeToString(signature) + "\n")
	case r.encoding == "raw", r.encoding == "" && r.output != "":
		return signature
	}
	return []byte(base64.StdEncoding.EncodeToString(signature) + "\n")
}

func (r *hashRequest) document(key *signpath.Key, signature []byte) any {
	return struct {
		Policy        string `json:"policy"`
		KeyType       string `json:"keyType"`
		HashAlgorithm string `json:"hashAlgorithm"`
		Hash          string `json:"hash"`
		Signature     []byte `json:"signature"` // base64
	}{key.ID(), keyType(key.Public()), r.algorithm, hex.EncodeToString(r.digest), signature}
}
