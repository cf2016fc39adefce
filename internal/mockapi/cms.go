package mockapi

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
)

// Just enough of CMS (RFC 5652) for a time-stamp token. smallstep/pkcs7
// signs only content of the type data, in SignedData of version 1.

var (
	oidSHA256               = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
	oidECDSAWithSHA256      = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidSignedData           = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidContentType          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	oidMessageDigest        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 4}
	oidSigningCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
)

type contentInfo struct {
	ContentType asn1.ObjectIdentifier
	Content     signedData `asn1:"explicit,tag:0"`
}

type signedData struct {
	Version          int
	DigestAlgorithms []pkix.AlgorithmIdentifier `asn1:"set"`
	EncapContentInfo encapsulated
	Certificates     []asn1.RawValue `asn1:"set,optional,omitempty,tag:0"`
	SignerInfos      []signerInfo    `asn1:"set"`
}

type encapsulated struct {
	ContentType asn1.ObjectIdentifier
	Content     []byte `asn1:"explicit,tag:0"`
}

type signerInfo struct {
	Version            int
	SID                issuerAndSerial
	DigestAlgorithm    pkix.AlgorithmIdentifier
	SignedAttrs        []attribute `asn1:"set,tag:0"`
	SignatureAlgorithm pkix.AlgorithmIdentifier
	Signature          []byte
}

type issuerAndSerial struct {
	Issuer asn1.RawValue
	Serial *big.Int
}

type attribute struct {
	Type   asn1.ObjectIdentifier
	Values []any `asn1:"set"`
}

// signingCertificateV2 (RFC 5035, section 3) binds the token to its certificate. SHA-256 is the default hash, so it is not named.
type signingCertificateV2 struct{ Certs []certID }

type certID struct {
	Hash   []byte
	Serial issuerSerial
}

type issuerSerial struct {
	Issuer []asn1.RawValue // GeneralNames
	Serial *big.Int
}

// signToken wraps content into SignedData of version 3 with one signer, and
// returns the ContentInfo. sign gets the SHA-256 digest of the signed
// attributes and returns a DER ECDSA signature.
func signToken(content []byte, cert *x509.Certificate, include bool, sign func([sha256.Size]byte) ([]byte, error)) ([]byte, error) {
	attrs := stampAttributes(content, cert)
	// The signature is over the attributes as a SET OF (section 5.4), not under their tag [0].
	signed, err := asn1.MarshalWithParams(attrs, "set")
	if err != nil {
		return nil, err
	}
	signature, err := sign(sha256.Sum256(signed))
	if err != nil {
		return nil, err
	}
	digest := pkix.AlgorithmIdentifier{Algorithm: oidSHA256}
	sd := signedData{
		Version: 3, DigestAlgorithms: []pkix.AlgorithmIdentifier{digest},
		EncapContentInfo: encapsulated{oidTSTInfo, content},
		SignerInfos: []signerInfo{{
			Version: 1, SID: issuerAndSerial{asn1.RawValue{FullBytes: cert.RawIssuer}, cert.SerialNumber},
			DigestAlgorithm: digest, SignedAttrs: attrs,
			SignatureAlgorithm: pkix.AlgorithmIdentifier{Algorithm: oidECDSAWithSHA256}, Signature: signature,
		}},
	}
	if include {
		sd.Certificates = []asn1.RawValue{{FullBytes: cert.Raw}}
	}
	return asn1.Marshal(contentInfo{oidSignedData, sd})
}

func stampAttributes(content []byte, cert *x509.Certificate) []attribute {
	digest := sha256.Sum256(content)
	certDigest := sha256.Sum256(cert.Raw)
	directoryName := asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: cert.RawIssuer}
	return []attribute{
		{oidContentType, []any{oidTSTInfo}},
		{oidMessageDigest, []any{digest[:]}},
		{oidSigningCertificateV2, []any{signingCertificateV2{[]certID{{certDigest[:], issuerSerial{[]asn1.RawValue{directoryName}, cert.SerialNumber}}}}}},
	}
}
