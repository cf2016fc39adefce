package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// distance is the round trip to a service in the same part of the world.
const distance = 20 * time.Millisecond

// distant: what a user waits for. A whole openssl signs with a key of a service that is not
// next door, beside the least that this can take: a program that makes the same two requests and
// nothing else, and the same openssl with a key in a file.
func distant(b *bench) ([]row, error) {
	service, err := url.Parse(b.service.BaseURL())
	if err != nil {
		return nil, err
	}
	relay, err := newRelay(service.Host, distance)
	if err != nil {
		return nil, err
	}
	defer relay.Close()
	service.Host = relay.Addr().String()
	env := append(slices.Clone(b.env), "SIGNPATH_API_URL="+service.JoinPath("Api").String(), systemRoots)
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	key, err := b.keyFile()
	if err != nil {
		return nil, err
	}
	ours, other, err := b.alternate(
		func(into samples) error { return b.signWhole(into, env, b.module, keyRSA, b.small()) },
		func(into samples) error {
			begin := time.Now()
			_, requests := b.output(env, self, rawClientCommand, keyRSA)
			between := time.Now()
			_, signing := b.output(env, "openssl", "dgst", "-sha256", "-sign", key, "-out", b.small()+".sig", b.small())
			into.add("whole", milliseconds(begin))
			into.add("requests", float64(between.Sub(begin).Microseconds())/1000)
			return errors.Join(requests, signing)
		},
	)
	if err != nil {
		return nil, err
	}
	return []row{
		compare("openssl dgst -sign, service 20 ms away", "ms", "same requests + key file", ours["whole"], other["whole"]).ratio(1.05),
		compare("the same", "ms", "same requests alone", ours["whole"], other["requests"]),
	}, nil
}

// keyFile has a key as the service's, for openssl itself.
func (b *bench) keyFile() (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, "key.pem")
	return file, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600)
}
