package main

import (
	"net/url"
	"path/filepath"
	"slices"
	"time"
)

// wholeOpenSSL: a whole process that signs through libp11's engine, as a build script runs it.
func wholeOpenSSL(b *bench) ([]row, error) {
	ours, other, err := b.alternate(
		func(into samples) error { return b.signWhole(into, b.env, b.module, keyRSA, b.small()) },
		func(into samples) error { return b.signWhole(into, b.env, b.softhsm, keyRSA, b.small()) },
	)
	if err != nil {
		return nil, err
	}
	whole := compare("openssl dgst -sign, whole process", "ms", "SoftHSM2", ours["whole"], other["whole"]).ratio(2)
	service, _, err := goRSA(b.runs)
	if err != nil {
		return nil, err
	}
	_, softhsm, err := b.firstSignatures(keyRSA)
	return []row{whole.limitedBy(slowService(whole, service, summarize(softhsm["again"])))}, err
}

// signWhole runs openssl once, with a key of a module.
func (b *bench) signWhole(into samples, env []string, module, key, file string) error {
	env = append(slices.Clone(env), "PKCS11_MODULE_PATH="+module)
	begin := time.Now()
	_, err := b.output(env, "openssl", "dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256",
		"-sign", "pkcs11:object="+url.PathEscape(key)+";type=private;pin-value="+pin, "-out", file+".sig", file)
	into.add("whole", milliseconds(begin))
	return err
}

// small is a file to sign.
func (b *bench) small() string { return filepath.Join(b.dir, "small") }
