// Command bench measures the module beside a local token (SoftHSM2) and plain
// openssl, both sides in one run, alternating. It prints a table and writes
// build/reports/bench.json. Build first (make bench does).
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"signkit/internal/mockapi"
)

const (
	runs     = 31
	streams  = 7
	gigabyte = 1 << 30
)

// row is one comparison: medians of both sides with their quartiles.
type row struct {
	Name    string  `json:"name"`
	Unit    string  `json:"unit"`
	Ours    summary `json:"ours"`
	Other   summary `json:"other"`
	Against string  `json:"against"`
	Value   float64 `json:"value"`
	Target  string  `json:"target"`
	Met     bool    `json:"met"`
}

type summary struct {
	Low    float64 `json:"lower_quartile"`
	Median float64 `json:"median"`
	High   float64 `json:"upper_quartile"`
}

func summarize(values []float64) summary {
	v := slices.Sorted(slices.Values(values))
	if len(v) == 0 {
		return summary{}
	}
	return summary{v[len(v)/4], v[len(v)/2], v[len(v)*3/4]}
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench holds the two sides.
type bench struct {
	dir, host, module, softhsm string
	service                    *mockapi.Server
	env                        []string
}

func run() error {
	dir, err := os.MkdirTemp("", "signkit-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b := &bench{dir: dir, host: filepath.Join(dir, "host")}
	if err := b.prepare(); err != nil {
		return err
	}
	rows, err := b.measure()
	if err != nil {
		return err
	}
	return report(rows)
}

func (b *bench) prepare() error {
	var err error
	if b.module, err = filepath.Abs("build/libsignkit-pkcs11.so"); err != nil {
		return err
	}
	if _, err := output(nil, "cc", "-O2", "-o", b.host, "scripts/bench/testdata/host.c", "-ldl"); err != nil {
		return err
	}
	if b.service, err = mockapi.Start(mockapi.Options{StateDir: filepath.Join(b.dir, "state")}); err != nil {
		return err
	}
	b.env = append(b.service.Environment(), "PATH="+os.Getenv("PATH"), "SIGNPATH_LOG_CONSOLE_LEVEL=error", "SOFTHSM2_CONF="+filepath.Join(b.dir, "softhsm2.conf"))
	return b.makeToken()
}

// makeToken makes a SoftHSM2 token with an RSA-3072 key of the same id.
func (b *bench) makeToken() error {
	found, err := filepath.Glob("/usr/lib*/*/softhsm/libsofthsm2.so")
	if err != nil || len(found) == 0 {
		return fmt.Errorf("SoftHSM2 is not here (package softhsm2)")
	}
	b.softhsm = found[0]
	tokens := filepath.Join(b.dir, "tokens")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "softhsm2.conf"), []byte("directories.tokendir = "+tokens+"\nlog.level = ERROR\n"), 0o600); err != nil {
		return err
	}
	if _, err := output(b.env, "softhsm2-util", "--init-token", "--free", "--label", "bench", "--pin", "CONFIG", "--so-pin", "CONFIG"); err != nil {
		return err
	}
	_, err = output(b.env, "pkcs11-tool", "--module", b.softhsm, "--login", "--pin", "CONFIG", "--keypairgen", "--key-type", "rsa:3072", "--id", "64656d6f2f7273612d33303732", "--label", "demo/rsa-3072")
	return err
}

func output(env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return string(out), nil
}

// sample runs the host once and adds its numbers.
func (b *bench) sample(into map[string][]float64, module string, more ...string) error {
	out, err := output(b.env, b.host, append([]string{module, "CONFIG", "demo/rsa-3072"}, more...)...)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("the host says %q", line)
		}
		into[name] = append(into[name], n)
	}
	return nil
}

func (b *bench) measure() ([]row, error) {
	ours, other := map[string][]float64{}, map[string][]float64{}
	for range runs {
		if err := b.sample(ours, b.module); err != nil {
			return nil, err
		}
		if err := b.sample(other, b.softhsm); err != nil {
			return nil, err
		}
		for module, into := range map[string]map[string][]float64{b.module: ours, b.softhsm: other} {
			if err := b.openssl(into, module); err != nil {
				return nil, err
			}
		}
	}
	if err := b.stream(ours, other); err != nil {
		return nil, err
	}
	initialize := compare("dlopen + C_Initialize", "ms", "SoftHSM2", ours["initialize"], other["initialize"], 1000)
	initialize.Target, initialize.Value, initialize.Met = "≤ 1 ms", initialize.Ours.Median, initialize.Ours.Median <= 1
	memory := compare("memory added to the host", "MiB", "SoftHSM2", ours["memory"], other["memory"], 1024)
	memory.Target, memory.Value, memory.Met = "≤ 1 MiB", memory.Ours.Median, memory.Ours.Median <= 1
	threads := compare("threads added to the host", "", "SoftHSM2", ours["threads"], other["threads"], 1)
	threads.Target, threads.Value, threads.Met = "0", threads.Ours.Median, threads.Ours.High == 0
	return []row{
		initialize, memory, threads,
		ratio(compare("load to first signature, bare host", "ms", "SoftHSM2", ours["first"], other["first"], 1000), 1.1),
		ratio(compare("openssl dgst -sign, whole process", "ms", "SoftHSM2", ours["openssl"], other["openssl"], 1000), 1.5),
		speed(compare("C_SignUpdate, 1 GiB in 8 KiB pieces", "ms", "openssl dgst -sha256", ours["stream"], other["stream"], 1000), 0.95),
	}, nil
}

func compare(name, unit, against string, ours, other []float64, divide float64) row {
	scale := func(s summary) summary { return summary{s.Low / divide, s.Median / divide, s.High / divide} }
	return row{Name: name, Unit: unit, Against: against, Ours: scale(summarize(ours)), Other: scale(summarize(other))}
}

// ratio: ours may take at most so many times as long.
func ratio(r row, most float64) row {
	r.Value = r.Ours.Median / r.Other.Median
	r.Target, r.Met = fmt.Sprintf("≤ %.1f×", most), r.Value <= most
	return r
}

// speed: ours must reach such a part of the other's speed.
func speed(r row, least float64) row {
	r.Value = r.Other.Median / r.Ours.Median
	r.Target, r.Met = fmt.Sprintf("≥ %.2f of its speed", least), r.Value >= least
	return r
}

// openssl times a whole process that signs through libp11's engine.
func (b *bench) openssl(into map[string][]float64, module string) error {
	file := filepath.Join(b.dir, "small")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		return err
	}
	start := time.Now()
	_, err := output(append(b.env, "PKCS11_MODULE_PATH="+module), "openssl", "dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256",
		"-sign", "pkcs11:object=demo%2Frsa-3072;type=private;pin-value=CONFIG", "-out", file+".sig", file)
	into["openssl"] = append(into["openssl"], float64(time.Since(start).Microseconds()))
	return err
}

// stream compares hashing 1 GiB in the token process with openssl's own hashing.
func (b *bench) stream(ours, other map[string][]float64) error {
	file := filepath.Join(b.dir, "large")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(file, gigabyte); err != nil {
		return err
	}
	for range streams {
		start := time.Now()
		if _, err := output(b.env, "openssl", "dgst", "-sha256", file); err != nil {
			return err
		}
		other["stream"] = append(other["stream"], float64(time.Since(start).Microseconds()))
		if err := b.sample(ours, b.module, file); err != nil {
			return err
		}
	}
	return nil
}

func report(rows []row) error {
	fmt.Printf("%-38s %22s %22s  %-22s %8s  %s\n", "what (median, quartiles)", "signkit", "other", "against", "value", "target")
	for _, r := range rows {
		met := "met"
		if !r.Met {
			met = "MISSED"
		}
		fmt.Printf("%-38s %22s %22s  %-22s %8.2f  %s: %s\n", r.Name, r.Ours.text(r.Unit), r.Other.text(r.Unit), r.Against, r.Value, r.Target, met)
	}
	fmt.Printf("%d runs of each side, alternating; %d CPUs; %d for the stream\n", runs, runtime.NumCPU(), streams)
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll("build/reports", 0o755); err != nil {
		return err
	}
	return os.WriteFile("build/reports/bench.json", append(data, '\n'), 0o644)
}

func (s summary) text(unit string) string {
	return fmt.Sprintf("%.2f %s (%.2f–%.2f)", s.Median, unit, s.Low, s.High)
}
