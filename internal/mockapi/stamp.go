package mockapi

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"
)

// The structures of RFC 3161, section 2.4.

type stampRequest struct {
	Version        int
	MessageImprint messageImprint
	ReqPolicy      asn1.ObjectIdentifier `asn1:"optional"`
	Nonce          *big.Int              `asn1:"optional"`
	CertReq        asn1.Flag             `asn1:"optional"` // any value: osslsigncode 2.1 sends TRUE as 01, against DER
	Extensions     []pkix.Extension      `asn1:"optional,tag:0"`
}

type messageImprint struct {
	HashAlgorithm pkix.AlgorithmIdentifier
	HashedMessage []byte
}

type stampResponse struct {
	Status         statusInfo
	TimeStampToken asn1.RawValue `asn1:"optional"`
}

type statusInfo struct {
	Status   int
	FailInfo asn1.BitString `asn1:"optional"`
}

type tstInfo struct {
	Version        int
	Policy         asn1.ObjectIdentifier
	MessageImprint messageImprint
	SerialNumber   *big.Int
	GenTime        time.Time `asn1:"generalized"`
	Nonce          *big.Int  `asn1:"optional"`
}

// Bits of PKIFailureInfo.
const (
	noFailure          = -1
	failBadAlgorithm   = 0
	failBadRequest     = 2
	failBadDataFormat  = 5
	failBadPolicy      = 15
	failBadExtension   = 16
	statusRejection    = 2
	stampVersion       = 1
	failureInfoMinimum = 24 // bits, enough for all of them
)

// readStampRequest returns the failure to answer with, or noFailure.
func readStampRequest(der []byte) (*stampRequest, int) {
	q := new(stampRequest)
	if rest, err := asn1.Unmarshal(der, q); err != nil || len(rest) > 0 {
		return nil, failBadDataFormat
	}
	if q.Version != stampVersion {
		return nil, failBadRequest
	}
	if len(q.Extensions) > 0 {
		return nil, failBadExtension
	}
	if q.ReqPolicy != nil && !q.ReqPolicy.Equal(oidMockPolicy) {
		return nil, failBadPolicy
	}
	for _, h := range imprintHashes {
		if !h.oid.Equal(q.MessageImprint.HashAlgorithm.Algorithm) {
			continue
		}
		if len(q.MessageImprint.HashedMessage) != h.hash.Size() {
			return nil, failBadDataFormat
		}
		return q, noFailure
	}
	return nil, failBadAlgorithm
}

// info is the signed content: the imprint and nonce as they came, and the time in whole seconds.
func (q *stampRequest) info(now time.Time) ([]byte, error) {
	return asn1.Marshal(tstInfo{
		Version: 1, Policy: oidMockPolicy, MessageImprint: q.MessageImprint,
		SerialNumber: newSerial(), GenTime: now.UTC().Truncate(time.Second), Nonce: q.Nonce,
	})
}

// rejection is a response without a token.
func rejection(failure int) ([]byte, error) {
	bits := make([]byte, failureInfoMinimum/8)
	bits[failure/8] = 0x80 >> (failure % 8)
	info := asn1.BitString{Bytes: bits[:failure/8+1], BitLength: failure + 1} // DER: no trailing zero bits
	return asn1.Marshal(stampResponse{Status: statusInfo{Status: statusRejection, FailInfo: info}})
}
