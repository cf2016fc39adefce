package main

import (
	"os"
	"path/filepath"
	"time"
)

const gibibyte = 1 << 30

// stream: hashing in the token process, of what comes in pieces, beside openssl's own
// hashing in one process. Both read the same file, which takes no room on the disk.
func stream(b *bench) ([]row, error) {
	file := filepath.Join(b.dir, "large")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(file, gibibyte); err != nil {
		return nil, err
	}
	ours, other, err := b.alternate(
		func(into samples) error { return b.sampleHost(into, b.env, b.module, keyRSA, "stream", file) },
		func(into samples) error {
			begin := time.Now()
			_, err := b.output(b.env, "openssl", "dgst", "-sha256", file)
			into.add("stream", milliseconds(begin))
			return err
		},
	)
	if err != nil {
		return nil, err
	}
	return []row{
		compare("C_SignUpdate, 1 GiB in 8 KiB pieces", "ms", "openssl dgst -sha256", ours["stream"], other["stream"]).speed(0.95),
	}, nil
}
