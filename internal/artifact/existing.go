package artifact

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/smallstep/pkcs7"
)

// Existing says what becomes of a file that others have signed.
type Existing string

// What may become of it.
const (
	KeepExisting    Existing = "keep"    // the signature is added where the format holds several; elsewhere the file is refused
	AddExisting     Existing = "add"     // the same, said in so many words
	ReplaceExisting Existing = "replace" // the others' signatures are taken away
	SkipExisting    Existing = "skip"    // the file is left alone
)

// ExistingChoices are all that there are; the first is the default.
func ExistingChoices() []Existing {
	return []Existing{KeepExisting, AddExisting, ReplaceExisting, SkipExisting}
}

// OthersError is the error for a file that others have signed, whose format has no room for one
// more signature.
type OthersError struct {
	Signers string
	Single  string // why
}

func (e *OthersError) Error() string {
	return fmt.Sprintf("signed by %s already, and %s; --existing replace takes that signature away, --existing skip leaves the file alone",
		e.Signers, e.Single)
}

// signer is whom a signature claims to be of. Nothing of it is verified.
type signer struct {
	name        string            // for a person
	keyID       string            // of an OpenPGP key: its fingerprint or the end of it, hex, upper case
	certificate *x509.Certificate // nil where the signature does not bring it
}

// signerNames lists signers for a person, each once.
func signerNames(signers []signer) string {
	var list []string
	for _, s := range signers {
		if !slices.Contains(list, s.name) {
			list = append(list, s.name)
		}
	}
	return strings.Join(list, " and ")
}

// others are the signers who are not the named one.
func (v *Verifier) others(found []signer) ([]signer, error) {
	var ids []string
	if v.PublicKey != "" {
		keys, err := readKeys(v.PublicKey) // an ended key is still its owner's
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			ids = append(ids, key.KeyIDs()...)
		}
	}
	return slices.DeleteFunc(slices.Clone(found), func(s signer) bool {
		if s.certificate != nil {
			return slices.ContainsFunc(v.leaf(), s.certificate.Equal)
		}
		return s.keyID != "" && slices.ContainsFunc(ids, func(id string) bool {
			return strings.HasSuffix(s.keyID, id) || strings.HasSuffix(id, s.keyID)
		})
	}), nil
}

// existing lists whose signatures a new one would meet, in the file or in the folder dir beside it.
func (v *Verifier) existing(ctx context.Context, kind Kind, file, dir string) ([]signer, error) {
	f := kind.format()
	if f.existing == nil {
		return besideSigners(kind, file, dir)
	}
	ctx, cancel := limited(ctx, v.Limit)
	defer cancel()
	scratch, err := os.MkdirTemp("", "signkit-existing-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(scratch)
	found, err := f.existing(verification{v, scratch}, ctx, file)
	if errors.Is(err, ErrUnsigned) {
		return nil, nil
	}
	return found, err
}

// besideSigners are those of the signatures beside a file, as many as there are.
func besideSigners(kind Kind, file, dir string) ([]signer, error) {
	var found []signer
	for _, name := range SignatureNames(kind, file) {
		data, err := readIndex(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, err
		case kind.UsesOpenPGP():
			found = append(found, openPGPFileSigners(data)...)
		default:
			found = append(found, cmsSigners(data)...)
		}
	}
	return found, nil
}

// openPGPFileSigners are those of signatures of their own, one behind the other, or of a text with one around it.
func openPGPFileSigners(data []byte) []signer {
	begin := []byte("-----BEGIN PGP ")
	var found []signer
	for {
		at := bytes.Index(data, begin)
		if at < 0 {
			at = len(data)
		}
		if outside := data[:at]; found == nil && at == len(data) || bytes.IndexFunc(outside, beyondASCII) >= 0 {
			found = append(found, openPGPSigners(bytes.NewReader(outside))...) // as every packet begins beyond ASCII
		}
		if data = data[at:]; len(data) == 0 {
			return found
		}
		if block, rest := clearsign.Decode(data); block != nil && bytes.HasPrefix(data, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
			found, data = append(found, openPGPSigners(block.ArmoredSignature.Body)...), rest
			continue
		}
		block, err := armor.Decode(bytes.NewReader(data))
		if err != nil {
			return append(found, unknownSigner)
		}
		found = append(found, openPGPSigners(block.Body)...)
		_, data, _ = bytes.Cut(data, []byte("\n-----END PGP "))
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
}

func beyondASCII(r rune) bool { return r > 0x7f } // also where it is no UTF-8

// oidNestedSignature is the attribute in which Authenticode has further signatures.
const oidNestedSignature = "1.3.6.1.4.1.311.2.4.1"

// cmsMessages are a CMS SignedData in DER or PEM and what Authenticode nests in it, as far as they can be read.
func cmsMessages(data []byte) []*pkcs7.PKCS7 {
	if block, _ := pem.Decode(data); block != nil {
		data = block.Bytes
	}
	message, err := pkcs7.Parse(data)
	if err != nil {
		return nil
	}
	found := []*pkcs7.PKCS7{message}
	for _, info := range message.Signers {
		for _, attribute := range info.UnauthenticatedAttributes {
			if attribute.Type.String() == oidNestedSignature {
				found = append(found, cmsMessages(attribute.Value.Bytes)...)
			}
		}
	}
	return found
}

// cmsSigners are those of cmsMessages.
func cmsSigners(data []byte) []signer {
	var found []signer
	for _, message := range cmsMessages(data) {
		found = append(found, certificateSigners(message)...)
	}
	if found == nil {
		return []signer{{name: "somebody whose signature cannot be read"}}
	}
	return found
}

func certificateSigners(message *pkcs7.PKCS7) []signer {
	var found []signer
	certificates := signersOf(message, nil)
	for _, certificate := range certificates {
		found = append(found, signer{name: strconv.QuoteToGraphic(certificate.Subject.String()), certificate: certificate})
	}
	for range len(message.Signers) - len(certificates) {
		found = append(found, signer{name: "somebody whose certificate is not there"})
	}
	return found
}

// meet decides, before a signature is asked for, what becomes of those that are there. It returns
// the signer that does so, nil for a file that is to be left alone, and a note of it.
func (b *Batch) meet(ctx context.Context, hand *Hand, kind Kind, file, dir string) (_ *Signer, note string, err error) {
	found, err := hand.Verifier.existing(ctx, kind, file, dir)
	if err != nil {
		return nil, "", err
	}
	others, err := hand.Verifier.others(found)
	if err != nil {
		return nil, "", err
	}
	s := *hand.Signer
	switch {
	case len(others) == 0:
		s.Replace = len(found) > 0 // nobody else's is lost
		return &s, "", nil
	case b.Existing == SkipExisting:
		return nil, "left alone, as it is signed by " + signerNames(others), nil
	case b.Existing == ReplaceExisting:
		s.Replace = true
		return &s, "the signature of " + signerNames(others) + " has been taken away", nil
	}
	why, err := hand.Verifier.single(ctx, kind, file)
	if err != nil {
		return nil, "", err
	}
	if why != "" {
		return nil, "", &OthersError{Signers: signerNames(others), Single: why}
	}
	s.Add = true
	return &s, "signed beside " + signerNames(others), nil
}

// single says why a file holds the signature of one signer only; empty where it holds several.
func (v *Verifier) single(ctx context.Context, kind Kind, file string) (string, error) {
	f := kind.format()
	if f.single == nil {
		return strings.Join(SignatureNames(kind, file), " and ") + " would be overwritten", nil
	}
	ctx, cancel := limited(ctx, v.Limit)
	defer cancel()
	scratch, err := os.MkdirTemp("", "signkit-existing-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(scratch)
	return f.single(verification{v, scratch}, ctx, file)
}

// holdsSeveral is for formats that hold several signatures, whatever the file.
func holdsSeveral(verification, context.Context, string) (string, error) { return "", nil }
