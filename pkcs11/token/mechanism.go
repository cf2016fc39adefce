package token

import (
	"crypto"
	"encoding/binary"
	"fmt"
	"slices"

	"signkit/internal/key"
)

// mechanism is one row of the table that drives the mechanism list, its
// infos, C_SignInit and the parameter checks, so that they cannot disagree.
type mechanism struct {
	id      uint64
	name    string
	keyType uint64
	hash    crypto.Hash // what the token hashes with; 0: the caller gives a digest
	pss     bool
}

// mechanisms begins with CKM_RSA_PKCS: tools that are told no mechanism take
// the first that signs.
var mechanisms = []mechanism{
	{ckmRSAPKCS, "CKM_RSA_PKCS", ckkRSA, 0, false},
	{ckmSHA1RSAPKCS, "CKM_SHA1_RSA_PKCS", ckkRSA, crypto.SHA1, false},
	{ckmSHA256RSAPKCS, "CKM_SHA256_RSA_PKCS", ckkRSA, crypto.SHA256, false},
	{ckmSHA384RSAPKCS, "CKM_SHA384_RSA_PKCS", ckkRSA, crypto.SHA384, false},
	{ckmSHA512RSAPKCS, "CKM_SHA512_RSA_PKCS", ckkRSA, crypto.SHA512, false},
	{ckmRSAPKCSPSS, "CKM_RSA_PKCS_PSS", ckkRSA, 0, true},
	{ckmSHA256RSAPKCSPSS, "CKM_SHA256_RSA_PKCS_PSS", ckkRSA, crypto.SHA256, true},
	{ckmSHA384RSAPKCSPSS, "CKM_SHA384_RSA_PKCS_PSS", ckkRSA, crypto.SHA384, true},
	{ckmSHA512RSAPKCSPSS, "CKM_SHA512_RSA_PKCS_PSS", ckkRSA, crypto.SHA512, true},
	{ckmECDSA, "CKM_ECDSA", ckkEC, 0, false},
	{ckmECDSASHA1, "CKM_ECDSA_SHA1", ckkEC, crypto.SHA1, false},
	{ckmECDSASHA256, "CKM_ECDSA_SHA256", ckkEC, crypto.SHA256, false},
	{ckmECDSASHA384, "CKM_ECDSA_SHA384", ckkEC, crypto.SHA384, false},
	{ckmECDSASHA512, "CKM_ECDSA_SHA512", ckkEC, crypto.SHA512, false},
}

func findMechanism(id uint64) (*mechanism, error) {
	for i := range mechanisms {
		if mechanisms[i].id == id {
			return &mechanisms[i], nil
		}
	}
	return nil, failf(ckrMechanismInvalid, "mechanism 0x%X is not offered by this token", id)
}

// keySizes are in bits: modulus, or order of the curve.
func (m *mechanism) keySizes() (smallest, largest uint64) {
	if m.keyType == ckkEC {
		return 256, 521
	}
	return 2048, 4096
}

func (m *mechanism) flags() uint64 {
	if m.keyType == ckkEC {
		return ckfHW | ckfSign | ckfECFP | ckfECNamedCurve | ckfECUncompress
	}
	return ckfHW | ckfSign
}

// multiPart reports whether C_SignUpdate may be used: where the token hashes.
func (m *mechanism) multiPart() bool { return m.hash != 0 }

// serviceHashes are those with which the service signs on every route.
var serviceHashes = []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512}

// checkParameter reads the mechanism's parameter and returns the hash of the
// digest: for PSS the one it names, else the mechanism's own (0: unknown yet).
// The service has no fields for salt and MGF, so only its fixed choice (salt as
// long as the digest, MGF1 with the same hash) is taken.
func (m *mechanism) checkParameter(parameter []byte) (crypto.Hash, error) {
	if !m.pss {
		if len(parameter) != 0 {
			return 0, failf(ckrMechanismParamInvalid, "%s takes no parameter, but %d bytes were given", m.name, len(parameter))
		}
		return m.hash, nil
	}
	// CK_RSA_PKCS_PSS_PARAMS (mechanisms v2.40, section 2.1.7): three CK_ULONG.
	if len(parameter) != 24 {
		return 0, failf(ckrMechanismParamInvalid, "%s needs CK_RSA_PKCS_PSS_PARAMS of 24 bytes, not %d", m.name, len(parameter))
	}
	hashAlg := binary.NativeEndian.Uint64(parameter)
	mgf := binary.NativeEndian.Uint64(parameter[8:])
	saltLength := binary.NativeEndian.Uint64(parameter[16:])
	named, known := key.HashOfMechanism(hashAlg)
	switch {
	case !known || !slices.Contains(serviceHashes, named.Hash):
		return 0, failf(ckrMechanismParamInvalid, "PSS with hash mechanism 0x%X is not offered", hashAlg)
	case m.hash != 0 && m.hash != named.Hash:
		return 0, failf(ckrMechanismParamInvalid, "%s was given the parameters of %v", m.name, named.Hash)
	case uint64(named.MGF1) != mgf:
		return 0, failf(ckrMechanismParamInvalid, "the service offers PSS with MGF1 of the same hash (%v) only", named.Hash)
	case saltLength != uint64(named.Size()):
		return 0, failf(ckrMechanismParamInvalid, "the service offers PSS with a salt of %d bytes for %v, not %d", named.Size(), named.Hash, saltLength)
	}
	return named.Hash, nil
}

func (m *mechanism) String() string { return m.name }

// mechanismInfo is CK_MECHANISM_INFO.
func mechanismInfo(id uint64) ([]byte, error) {
	m, err := findMechanism(id)
	if err != nil {
		return nil, ckrMechanismInvalid // asking is no mistake worth a record
	}
	smallest, largest := m.keySizes()
	return appendNumbers(nil, smallest, largest, m.flags()), nil
}

func mechanismTypes() []uint64 {
	types := make([]uint64, len(mechanisms))
	for i, m := range mechanisms {
		types[i] = m.id
	}
	return types
}

var _ fmt.Stringer = (*mechanism)(nil)
