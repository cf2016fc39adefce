package moduletest

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// signer is a real program that signs FILE into OUT with a key of the module.
type signer struct {
	name  string
	probe []string // arguments of openssl that succeed where it can be used
	args  func(key, file, out string) []string
	env   []string
	// calls are those that report a signature that failed: pkcs11-tool tries
	// once more, with C_SignUpdate and C_SignFinal. So it takes twice as long.
	calls []string
	// asks is the call that first asks the service, if not C_FindObjectsInit.
	asks string
	// says is how the program itself words a return value; nil: not at all.
	says func(rv string) string
	// leaves is what is in OUT, where an older signature was, when nothing was
	// signed: "" is that it is gone.
	leaves func(old string) string
}

// signers are those of this machine: openssl by engine, by provider, or by
// both, which the project's sample chooses from as well; and pkcs11-tool.
func signers(t *testing.T) []signer {
	tool := pkcs11Tool()
	need(t, "pkcs11-tool")
	var list []signer
	for _, s := range []signer{opensslProvider(), opensslEngine()} {
		if command("openssl", s.probe...) == nil {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		t.Skip("openssl has neither an engine nor a provider pkcs11 here")
	}
	sample := signer{name: "sample", args: opensslSample(t), calls: list[0].calls, leaves: emptied}
	sample.asks = "C_Login" // its settings name one policy
	sample.env = []string{"PKCS11_PROVIDER_MODULE=" + shared.variant[0].module}
	return append(list, sample, tool)
}

func emptied(string) string { return "" }

func keyURI(key string) string {
	return "pkcs11:object=" + strings.ReplaceAll(key, "/", "%2F") + ";type=private"
}

func opensslEngine() signer {
	return signer{
		name: "openssl engine", probe: []string{"engine", "pkcs11"},
		env: []string{"PKCS11_MODULE_PATH=" + shared.variant[0].module},
		args: func(key, file, out string) []string {
			return []string{"openssl", "dgst", "-engine", "pkcs11", "-keyform", "engine", "-sha256",
				"-sign", keyURI(key) + ";pin-value=CONFIG", "-out", out, file}
		},
		calls: []string{"C_Sign"}, says: engineText, leaves: emptied,
	}
}

func opensslProvider() signer {
	return signer{
		name: "openssl provider", probe: []string{"list", "-provider", "pkcs11", "-providers"},
		env: []string{"PKCS11_PROVIDER_MODULE=" + shared.variant[0].module},
		args: func(key, file, out string) []string {
			return []string{"openssl", "dgst", "-provider", "pkcs11", "-provider", "default", "-sha256",
				"-sign", keyURI(key) + "?pin-value=CONFIG", "-out", out, file}
		},
		calls: []string{"C_SignFinal"}, leaves: emptied,
	}
}

func opensslSample(t *testing.T) func(key, file, out string) []string {
	sample, err := filepath.Abs("../../../samples/openssl/sign.sh")
	if err != nil {
		t.Fatal(err)
	}
	return func(key, file, out string) []string { return []string{sample, key, file, out} }
}

func pkcs11Tool() signer {
	return signer{
		// Before release 0.23 it opens a session for writing, which it does not need.
		name: "pkcs11-tool", env: []string{"SIGNPATH_CRYPTOKI_DO_NOT_FAIL_ON_READ_WRITE_SESSIONS=true"},
		args: func(key, file, out string) []string {
			mechanism := map[bool]string{true: "SHA256-RSA-PKCS", false: "ECDSA-SHA256"}[strings.Contains(key, "rsa")]
			return []string{"pkcs11-tool", "--module", shared.variant[0].module, "--login", "--pin", "CONFIG", "--sign",
				"-m", mechanism, "--id", hex.EncodeToString([]byte(key)), "-i", file, "-o", out}
		},
		calls: []string{"C_Sign", "C_SignFinal"}, says: func(rv string) string { return "rv = " + rv + " " },
		leaves: func(old string) string { return old }, // it opens OUT only for a signature
	}
}

// engineText is how libp11 words a return value.
func engineText(rv string) string {
	return map[string]string{
		"CKR_ARGUMENTS_BAD": "ERR_CKR_error:Invalid arguments", "CKR_FUNCTION_FAILED": "ERR_CKR_error:Function failed",
		"CKR_DEVICE_ERROR": "ERR_CKR_error:Device error", "CKR_GENERAL_ERROR": "ERR_CKR_error:General Error",
	}[rv]
}

// attempt is one trouble met by one program.
type attempt struct {
	trouble
	signer
	dir     string
	done    chan struct{}
	service *ownService
	got     outcome
	took    time.Duration
	err     error
}

// slack is for a machine with much else to do. Without these settings it would take ten minutes and more.
const slack = time.Minute

// old is what a person could take for the new signature.
const old = "an older signature"

// TestTroubleOfRealTools: openssl and pkcs11-tool end with a failure, show why
// in one line, in time, and leave nothing that looks like a signature; or they
// wait the trouble out and sign.
func TestTroubleOfRealTools(t *testing.T) {
	t.Parallel()
	busy := make(chan struct{}, 12) // most of the time they wait
	base := t.TempDir()
	var attempts []*attempt
	present := signers(t)
	for _, trouble := range troubles {
		for _, signer := range present {
			dir := filepath.Join(base, fmt.Sprint(len(attempts)))
			a := &attempt{trouble: trouble, signer: signer, dir: dir, done: make(chan struct{})}
			attempts = append(attempts, a)
			go func() {
				defer close(a.done)
				busy <- struct{}{}
				defer func() { <-busy }()
				a.run()
			}()
		}
	}
	for _, a := range attempts {
		t.Run(a.trouble.name+"/"+a.signer.name, func(t *testing.T) {
			<-a.done // launch has a deadline
			a.check(t)
		})
	}
}

func (a *attempt) run() {
	if a.key == "" {
		a.key = "demo/rsa-2048"
	}
	if a.service, a.err = startOwn(a.dir, a.trouble); a.err != nil {
		return
	}
	defer func() {
		if err := a.service.close(); a.err == nil {
			a.err = err
		}
	}()
	file, out := filepath.Join(a.dir, "file"), filepath.Join(a.dir, "out")
	for path, text := range map[string]string{file: "hello", out: old} {
		if a.err = os.WriteFile(path, []byte(text), 0o600); a.err != nil {
			return
		}
	}
	env := append(a.service.environment(), "PATH="+os.Getenv("PATH"), "SIGNPATH_LOG_CONSOLE_LEVEL=error",
		"SIGNPATH_LOG_FILE_LEVEL=verbose", "SIGNPATH_LOG_FILE_DIRECTORY="+a.dir)
	env = append(append(append(env, quick...), a.trouble.env...), a.signer.env...)
	ended := a.service.disturb(a.during)
	began := time.Now()
	a.got, a.err = launch(a.args(a.key, file, out), env)
	a.took = time.Since(began)
	if err := <-ended; a.err == nil {
		a.err = err
	}
}

func (a *attempt) check(t *testing.T) {
	t.Helper()
	if a.err != nil {
		t.Fatal(a.err)
	}
	tries := time.Duration(len(a.calls))
	if most := a.most*tries + slack; a.took < a.least || a.took > most {
		t.Errorf("it took %v, not between %v and %v", a.took, a.least, most)
	}
	a.checkRecords(t)
	a.checkSecrecy(t)
	out, err := os.ReadFile(filepath.Join(a.dir, "out"))
	if a.rv == "" {
		if a.got.code != 0 || !valid(shared.keys[a.key], sha256Of("hello"), out) {
			t.Errorf("ended with %d and a signature of %d bytes, %v; stderr:\n%s", a.got.code, len(out), err, a.got.stderr)
		}
		return
	}
	if a.got.code != 1 {
		t.Errorf("ended with %d", a.got.code)
	}
	// openssl has opened the file before, and leaves it empty; the sample removes it.
	if want := a.leaves(old); string(out) != want || a.signer.name == "sample" && !os.IsNotExist(err) {
		t.Errorf("%d bytes where the signature would be, %v; want %q", len(out), err, want)
	}
}

// checkRecords compares what the module wrote to stderr with the table, line by line.
func (a *attempt) checkRecords(t *testing.T) {
	t.Helper()
	var records []string
	for line := range strings.Lines(a.got.stderr) {
		if strings.HasPrefix(line, "signkit") {
			records = append(records, strings.TrimSuffix(line, "\n"))
		}
	}
	calls := a.calls
	if a.rv == "" {
		calls = nil
	} else if strings.HasPrefix(a.record, asking) {
		calls = []string{"C_FindObjectsInit"}
		if a.asks != "" {
			calls = []string{a.asks}
		}
	} else if a.forgets {
		calls = calls[:1]
	}
	matching := len(records) == len(calls)
	for i := 0; matching && i < len(calls); i++ {
		matching = a.pattern(calls[i]).MatchString(records[i])
	}
	if !matching {
		t.Errorf("records:\n%s\nwant for %v:\nsignkit: error: %s", strings.Join(records, "\n"), calls, a.record)
	}
	if a.rv == "" || a.says == nil || a.forgets {
		return
	}
	if said := a.says(a.rv); !strings.Contains(a.got.stderr, said) {
		t.Errorf("no %q in\n%s", said, a.got.stderr)
	}
}

func (a *attempt) pattern(call string) *regexp.Regexp {
	rv := a.rv
	if call == "C_Login" && a.atLogin != "" {
		rv = a.atLogin
	}
	line := regexp.QuoteMeta("signkit: error: " + a.record + " call=" + call + " result=" + rv)
	for name, expression := range map[string]string{
		"root": "/Api/v1/" + shared.service.OrganizationID(), "key": a.key, "time": `[0-9.]+m?s`, "uuid": `[0-9a-f-]{36}`,
		"trace": `00-[0-9a-f]{32}-[0-9a-f]{16}-00`, "address": `127\.0\.0\.\d:\d+`, "number": `\d+`, "text": `.+`,
	} {
		line = strings.ReplaceAll(line, regexp.QuoteMeta("{"+name+"}"), expression)
	}
	return regexp.MustCompile("^" + line + "$")
}

// checkSecrecy looks for the token in all that came out.
func (a *attempt) checkSecrecy(t *testing.T) {
	t.Helper()
	token := shared.service.Token()
	shown := map[string]string{"standard output": a.got.stdout, "standard error": a.got.stderr}
	logs, err := filepath.Glob(filepath.Join(a.dir, "*.txt"))
	if err != nil || len(logs) == 0 {
		t.Errorf("no log file: %v", err)
	}
	for _, name := range append(logs, filepath.Join(a.dir, "out")) {
		if text, err := os.ReadFile(name); err == nil {
			shown[filepath.Base(name)] = string(text)
		}
	}
	for name, text := range shown {
		if strings.Contains(text, token) || strings.Contains(text, token[:12]) {
			t.Errorf("the token is in %s", name)
		}
	}
}
