package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	both, err := b.streamed(file)
	if err != nil {
		return nil, err
	}
	// The host sends the next piece while the token process hashes: on one processor they take turns.
	one, err := b.streamed(file, "taskset", "--cpu-list", "0")
	if err != nil {
		return nil, err
	}
	one.Name = "the same on one processor"
	return []row{both.speed(0.95).limitedBy(takingTurns(one)), one}, nil
}

// streamed runs both sides, each behind the prefix.
func (b *bench) streamed(file string, prefix ...string) (row, error) {
	run := func(args ...string) (string, error) {
		args = slices.Concat(prefix, args)
		return b.output(b.env, args[0], args[1:]...)
	}
	ours, other, err := b.alternate(
		func(into samples) error {
			out, err := run(b.host, b.module, pin, keyRSA, "stream", file)
			if err != nil {
				return err
			}
			return into.read(out)
		},
		func(into samples) error {
			begin := time.Now()
			_, err := run("openssl", "dgst", "-sha256", file)
			into.add("stream", milliseconds(begin))
			return err
		},
	)
	return compare("C_SignUpdate, 1 GiB in 8 KiB pieces", "ms", "openssl dgst -sha256", ours["stream"], other["stream"]).asSpeed(), err
}

// takingTurns is what keeps streams from full speed: a second processor with other work.
func takingTurns(one row) string {
	return fmt.Sprintf("the host copies and sends each piece while the token process hashes the one before; "+
		"where one processor does both it is %.2f, so a second one was busy with something else", one.Value)
}
