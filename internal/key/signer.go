package key

import (
	"context"
	"crypto"
)

// Signer is a private key that is somewhere else: the seam between those who ask for signatures and
// those who make them. Above it nobody knows how a key is reached, below it nobody knows by whom.
type Signer interface {
	crypto.Signer
	// SignContext signs a digest, as Sign does, and ends with the context. opts choose the algorithm: a
	// crypto.Hash (an ECDSA signature is then ASN.1 DER), *rsa.PSSOptions or ECDSAOptions.
	SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error)
}
