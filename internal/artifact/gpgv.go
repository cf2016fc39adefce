package artifact

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// gpgv judges signatures of a file. It gets the packets that were read here, and only those of keys
// that count: what else it could make of the file they come from, or of another's signature beside
// ours, does not matter then.
func (v verification) gpgv(ctx context.Context, signatures []openPGPSignature, file string) error {
	keys, err := v.keys()
	if err != nil {
		return err
	}
	var ids []string
	for _, key := range keys {
		ids = append(ids, key.KeyIDs()...)
	}
	var ours bytes.Buffer
	var others []signer
	var ended error
	for _, s := range signatures {
		if s.IssuerKeyId != nil && !slices.Contains(ids, fmt.Sprintf("%016X", *s.IssuerKeyId)) {
			if v.endedSubkey(s) {
				ended = fmt.Errorf("signed by %s, which has expired or has been revoked", signerNames([]signer{s.signer()}))
				continue
			}
			others = append(others, s.signer())
			continue
		}
		if err := s.raw.Serialize(&ours); err != nil {
			return err
		}
	}
	if ours.Len() == 0 && ended != nil {
		return ended
	}
	if ours.Len() == 0 {
		return fmt.Errorf("signed by %s, and not by a key that was named", signerNames(others))
	}
	keyring, err := v.keyring(keys)
	if err != nil {
		return err
	}
	path := v.path("signatures")
	if err := os.WriteFile(path, ours.Bytes(), 0o600); err != nil {
		return err
	}
	if _, err = run(ctx, v.environment(), "", "gpgv", "--keyring", keyring, path, file); err != nil {
		return err
	}
	for _, other := range others {
		if v.AlsoSigned != nil {
			v.AlsoSigned(other.name)
		}
	}
	return nil
}

// openPGPSignature is a signature packet, understood and as it was read.
type openPGPSignature struct {
	*packet.Signature
	raw *packet.OpaquePacket
}

func (s openPGPSignature) signer() signer {
	if len(s.IssuerFingerprint) > 0 {
		return keySigner(fmt.Sprintf("%X", s.IssuerFingerprint))
	}
	if s.IssuerKeyId != nil {
		return keySigner(fmt.Sprintf("%016X", *s.IssuerKeyId))
	}
	return signer{name: "an unknown key"}
}

// verifyDetachedFile checks a file with detached signatures of another file, as octets. Those of text
// leave open how its lines end (RFC 9580, section 5.2.1), and a script means another thing then.
func (v verification) verifyDetachedFile(ctx context.Context, path, file string) error {
	data, err := readIndex(path)
	if err != nil {
		return err
	}
	signatures, err := readDetached(data)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	return v.gpgv(ctx, signatures, file)
}

// readDetached reads signatures of octets, armored or not, and takes nothing else beside them.
func readDetached(data []byte) ([]openPGPSignature, error) {
	const begin, end = "-----BEGIN", "\n-----END PGP SIGNATURE-----"
	if bytes.HasPrefix(data, []byte(begin)) {
		_, behind, ended := bytes.Cut(data, []byte(end))
		if !ended || len(bytes.TrimSpace(behind)) > 0 || bytes.Count(data, []byte(begin)) > 1 {
			return nil, errors.New("there is something beside the signature, or it has no end")
		}
		block, err := armor.Decode(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		if block.Type != "PGP SIGNATURE" {
			return nil, fmt.Errorf("it is armored as %q and not as a signature", block.Type)
		}
		if data, err = io.ReadAll(block.Body); err != nil {
			return nil, err
		}
	}
	return readSignatures(data, packet.SigTypeBinary)
}

// readSignatures reads signature packets of a kind, and takes no other packet.
func readSignatures(data []byte, kind packet.SignatureType) ([]openPGPSignature, error) {
	const tagSignature = 2 // RFC 9580, section 5
	var found []openPGPSignature
	for reader := packet.NewOpaqueReader(bytes.NewReader(data)); ; {
		raw, err := reader.Next()
		if errors.Is(err, io.EOF) && len(found) > 0 {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the signature: %w", err)
		}
		if raw.Tag != tagSignature {
			return nil, errors.New("it is more than a signature")
		}
		understood, err := raw.Parse()
		if err != nil {
			return nil, fmt.Errorf("reading the signature: %w", err)
		}
		signature, ok := understood.(*packet.Signature)
		if !ok || signature.SigType != kind {
			return nil, errors.New("it is no signature of this kind: a file is signed as octets, a clear-signed message as text")
		}
		if err := dated(signature, time.Now()); err != nil {
			return nil, err
		}
		found = append(found, openPGPSignature{signature, raw})
	}
}

// aheadOfTime is how far the signer's clock may be ahead of ours.
const aheadOfTime = 24 * time.Hour

// dated checks that a signature is of the past: gpgv takes one of any day to come.
func dated(signature *packet.Signature, now time.Time) error {
	if signature.CreationTime.After(now.Add(aheadOfTime)) {
		return fmt.Errorf("the signature is dated %s, which is to come", signature.CreationTime.UTC().Format(time.DateOnly))
	}
	return nil
}

// verifyClearSigned checks a text that is one clear-signed message: gpgv gets what was read of it.
func (v verification) verifyClearSigned(ctx context.Context, block *clearsign.Block) error {
	packets, err := io.ReadAll(block.ArmoredSignature.Body)
	if err != nil {
		return fmt.Errorf("reading the signature: %w", err)
	}
	signatures, err := readSignatures(packets, packet.SigTypeText)
	if err != nil {
		return err
	}
	text := v.path("text")
	if err := os.WriteFile(text, block.Bytes, 0o600); err != nil {
		return err
	}
	return v.gpgv(ctx, signatures, text)
}
