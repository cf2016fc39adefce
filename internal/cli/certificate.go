package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"signkit/internal/signpath"
)

func newCertificateCommand(a *app) *cobra.Command {
	var chain bool
	var format, output string
	cmd := &cobra.Command{
		Use:   "certificate [PROJECT/POLICY]",
		Short: "Download the X.509 certificate of a signing policy",
		Long: `Download the X.509 certificate of a signing policy. With --chain its issuers follow,
each after the certificate it signed, as osslsigncode -certs and openssl cms -certfile expect.`,
		Example: `  signkit certificate my-project/release-signing --chain --output full.pem
  signkit certificate my-project/release-signing --format der | openssl x509 -inform DER -noout -text`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeKeys,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format, chain); err != nil {
				return err
			}
			name, err := a.keyName(args)
			if err != nil {
				return err
			}
			list, err := a.certificates(cmd.Context(), name, chain)
			if err != nil {
				return err
			}
			data, err := encodeCertificates(list, format)
			if err != nil {
				return err
			}
			return a.write(output, data)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&chain, "chain", false, "add the issuers")
	flags.StringVar(&format, "format", "pem", "`FORMAT`: pem, der, or p7b (PKCS#7 with certificates only)")
	flags.StringVarP(&output, "output", "o", "", "write to `FILE` instead of standard output")
	return cmd
}

func checkFormat(format string, chain bool) error {
	switch {
	case !slices.Contains([]string{"pem", "der", "p7b"}, format):
		return usageError("--format %s: choose pem, der or p7b", format)
	case format == "der" && chain:
		return withHint(usageError("--format der holds one certificate, not a chain"), "use --format pem or p7b with --chain")
	}
	return nil
}

// certificates returns the certificate of a policy and, if asked for, its issuers.
func (a *app) certificates(ctx context.Context, name keyName, chain bool) ([]*x509.Certificate, error) {
	key, err := a.key(ctx, name)
	if err != nil {
		return nil, err
	}
	leaf := key.Certificate()
	if leaf == nil {
		return nil, withHint(fmt.Errorf("%s has no X.509 certificate", name),
			"it has a GPG key: signkit gpg export "+name.String()+" downloads its public half")
	}
	a.warnCertificate(key)
	list := []*x509.Certificate{leaf}
	if !chain {
		return list, nil
	}
	return a.withIssuers(ctx, key, list)
}

func (a *app) withIssuers(ctx context.Context, key *signpath.Key, list []*x509.Certificate) ([]*x509.Certificate, error) {
	issuers, err := key.Chain(ctx)
	if err != nil {
		return nil, fmt.Errorf("downloading the issuers of %s: %w", key.ID(), err)
	}
	list = append(list, issuers...)
	last := list[len(list)-1]
	if !bytes.Equal(last.RawIssuer, last.RawSubject) {
		a.ui.warning("the chain is incomplete: the service does not tell the certificate of %q", last.Issuer)
		a.ui.hint("name a PEM file with it in SIGNKIT_CERTIFICATE_CHAIN_FILE")
	}
	return list, nil
}

func encodeCertificates(list []*x509.Certificate, format string) ([]byte, error) {
	switch format {
	case "der":
		return list[0].Raw, nil
	case "p7b":
		return certificatesOnly(list)
	}
	var b bytes.Buffer
	for _, c := range list {
		if err := pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// certificatesOnly is SignedData without signers (RFC 5652, section 5.1, in the form that PKCS#7
// 1.5 readers know), DER-encoded.
func certificatesOnly(list []*x509.Certificate) ([]byte, error) {
	data := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	signedData := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	type contentInfo struct {
		ContentType asn1.ObjectIdentifier
		Content     asn1.RawValue `asn1:"optional"`
	}
	var certificates []byte
	for _, c := range list {
		certificates = append(certificates, c.Raw...)
	}
	inner, err := asn1.Marshal(struct {
		Version          int
		DigestAlgorithms []pkix.AlgorithmIdentifier `asn1:"set"`
		ContentInfo      contentInfo
		Certificates     asn1.RawValue
		SignerInfos      []asn1.RawValue `asn1:"set"`
	}{
		Version:          1,
		DigestAlgorithms: []pkix.AlgorithmIdentifier{},
		ContentInfo:      contentInfo{ContentType: data},
		Certificates:     asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: certificates},
		SignerInfos:      []asn1.RawValue{},
	})
	if err != nil {
		return nil, fmt.Errorf("encoding PKCS#7: %w", err)
	}
	return asn1.Marshal(contentInfo{
		ContentType: signedData,
		Content:     asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner},
	})
}
