package main

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"slices"
	"time"
)

// start: what a host process sees of a module that it has just loaded.
func start(b *bench) ([]row, error) {
	rsaOurs, rsaOther, err := b.firstSignatures(keyRSA)
	if err != nil {
		return nil, err
	}
	ecOurs, ecOther, err := b.firstSignatures(keyEC)
	if err != nil {
		return nil, err
	}
	service, _, err := goRSA(b.runs)
	if err != nil {
		return nil, err
	}
	env := append(slices.Clone(b.env), systemRoots)
	all, one, err := b.alternate(
		func(into samples) error { return b.sampleHost(into, env, b.module, keyRSA) },
		func(into samples) error { return b.sampleHost(into, b.env, b.module, keyRSA) },
	)
	if err != nil {
		return nil, err
	}
	first := compare("load to first signature, RSA-3072", "ms", "SoftHSM2", rsaOurs["first"], rsaOther["first"]).ratio(2)
	return []row{
		compare("dlopen + C_Initialize", "ms", "SoftHSM2", rsaOurs["initialize"], rsaOther["initialize"]).atMost(1),
		compare("memory added to the host", "MiB", "SoftHSM2", rsaOurs["memory"], rsaOther["memory"]).atMost(1),
		compare("threads added to the host", "", "SoftHSM2", rsaOurs["threads"], rsaOther["threads"]).atMost(0),
		first.limitedBy(slowService(first, service, summarize(rsaOther["again"]))),
		compare("load to first signature, P-256", "ms", "SoftHSM2", ecOurs["first"], ecOther["first"]),
		compare("the same, RSA-3072, the system's roots to read", "ms", "signkit with one root", all["first"], one["first"]),
	}, nil
}

func (b *bench) firstSignatures(key string) (ours, other samples, err error) {
	return b.alternate(
		func(into samples) error { return b.sampleHost(into, b.env, b.module, key, "again") },
		func(into samples) error { return b.sampleHost(into, b.env, b.softhsm, key, "again") },
	)
}

// slowService says how much of the difference is the service's own signature: it is made
// by Go's crypto/rsa, SoftHSM2's by OpenSSL.
func slowService(r row, service, softhsm summary) string {
	more := service.Median - softhsm.Median
	return fmt.Sprintf("the service here needs %.2f ms for an RSA-3072 signature of its own (crypto/rsa), SoftHSM2 %.2f ms (OpenSSL); "+
		"without that difference it is %.2f×", service.Median, softhsm.Median, (r.Ours.Median-more)/r.Other.Median)
}

// goRSA measures in milliseconds what the service needs to sign (crypto/rsa), and the token
// process to check the signature.
func goRSA(runs int) (sign, verify summary, err error) {
	key, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		return sign, verify, err
	}
	digest := make([]byte, 32)
	var signing, verifying []float64
	for range runs {
		begin := time.Now()
		made, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest)
		signing = append(signing, milliseconds(begin))
		if err != nil {
			return sign, verify, err
		}
		begin = time.Now()
		err = rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest, made)
		verifying = append(verifying, milliseconds(begin))
		if err != nil {
			return sign, verify, err
		}
	}
	return summarize(signing), summarize(verifying), nil
}

func milliseconds(since time.Time) float64 { return float64(time.Since(since).Microseconds()) / 1000 }
