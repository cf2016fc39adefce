package main

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// wholeOpenSSL: a whole process that signs through libp11's engine, as a build script runs it.
func wholeOpenSSL(b *bench) ([]row, error) {
	file := filepath.Join(b.dir, "small")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		return nil, err
	}
	sign := func(module string) func(samples) error {
		env := append(slices.Clone(b.env), "PKCS11_MODULE_PATH="+module)
		return func(into samples) error {
			begin := time.Now()
			_, err := b.output(env, "openssl", "dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256",
				"-sign", "pkcs11:object=demo%2Frsa-3072;type=private;pin-value="+pin, "-out", file+".sig", file)
			into.add("whole", milliseconds(begin))
			return err
		}
	}
	ours, other, err := b.alternate(sign(b.module), sign(b.softhsm))
	if err != nil {
		return nil, err
	}
	whole := compare("openssl dgst -sign, whole process", "ms", "SoftHSM2", ours["whole"], other["whole"]).ratio(1.5)
	service, _, err := goRSA(b.runs)
	if err != nil {
		return nil, err
	}
	_, softhsm, err := b.firstSignatures(keyRSA)
	return []row{whole.limitedBy(slowService(whole, service, summarize(softhsm["again"])))}, err
}
