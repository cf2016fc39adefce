package signpath

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"fmt"
)

// KnownKey is the key of a signing policy whose public key is known already: it saves the
// request that reads the policy. Nothing is asked of the service; if the policy has another
// key by now, each signature fails with ErrWrongSignature.
//
// It has no certificate, and IsGPG reports false.
func (c *Client) KnownKey(project, policy string, public crypto.PublicKey) (*Key, error) {
	switch public := public.(type) {
	case *rsa.PublicKey:
	case *ecdsa.PublicKey:
		switch name := public.Params().Name; name {
		case "P-256", "P-384", "P-521":
		default:
			return nil, fmt.Errorf("%w: curve %s", ErrUnsupported, name)
		}
	default:
		return nil, fmt.Errorf("%w: key of type %T", ErrUnsupported, public)
	}
	return &Key{client: c, project: project, policy: policy, public: public}, nil
}
