package artifact

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"signkit/internal/pgpkey"
)

var rpmFormat = format{
	kind: RPM, openPGP: true, embedded: true,
	facts: Facts{
		Files: "rpm packages", Tool: "rpmsign", Judge: "rpmkeys",
		Versions: "rpm 4.14 or later",
		Keys:     "RSA; ECDSA if rpm uses Sequoia (4.20 or later, RHEL 10's 4.19)",
		Several:  "format 6, with rpm 6 or later: kept, and ours is added; others: refused unless --existing allows it",
	},
	match: func(c *candidate) bool { return c.hasMagic("\xed\xab\xee\xdb") }, // rpm's lead
	sign:  inPlace((*Signer).signRPM),
	signers: func(v verification, ctx context.Context, file, _ string) ([]signer, error) {
		return v.rpmSigners(ctx, file)
	},
	existing: verification.rpmSigners,
	single:   verification.rpmHoldsOne,
	verify:   verification.verifyRPM,
}

func (s *Signer) signRPM(ctx context.Context, path string) error {
	if err := s.checkRPMAlgorithm(ctx); err != nil {
		return err
	}
	program, err := exec.LookPath("gpg")
	if err != nil {
		return &MissingToolError{Tool: "gpg", Package: packages["gpg"]}
	}
	mode := "--addsign"
	if s.Replace {
		mode = "--resign"
	}
	// Some releases name a gpg2 in %__gpg that they do not install.
	// In its folder: rpm of Debian 11 splits names at blanks.
	_, err = run(ctx, s.gpgEnvironment(), filepath.Dir(path), "rpmsign", "--define", "_gpg_name "+s.OpenPGP.Fingerprint,
		"--define", "__gpg "+program, mode, filepath.Base(path))
	return err
}

// checkRPMAlgorithm refuses a key whose signatures this rpm cannot check. No rpm is asked for what each of them checks.
func (s *Signer) checkRPMAlgorithm(ctx context.Context) error {
	keys, err := readKeys(s.OpenPGP.PublicKey)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(keys, (*pgpkey.Key).IsECDSA) {
		return nil
	}
	version, ecdsa, err := RPMVersion(ctx, withoutCredentials(s.Environ))
	if err == nil && !ecdsa {
		err = fmt.Errorf("rpm %s cannot check ECDSA signatures; choose a policy with an RSA key", version)
	}
	return err
}

// rpm uses a package database of its own that knows this one key. rpmkeys takes unsigned
// packages, so its words count, not only its exit status.
func (v verification) verifyRPM(ctx context.Context, file, _ string) error {
	if rpmIsUnsigned(file) {
		return ErrUnsigned
	}
	db, err := v.rpmDatabase(ctx)
	if err != nil {
		return err
	}
	report, err := v.checksig(ctx, db, file)
	if _, missing := errors.AsType[*MissingToolError](err); missing {
		return err
	}
	signatures, others := 0, ""
	for line := range strings.Lines(report) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.Contains(strings.ToLower(line), "signature"):
		case strings.HasSuffix(line, ": OK"):
			if rpmSigner.MatchString(line) {
				signatures++
			}
		case strings.HasSuffix(line, ": NOKEY"):
			others = line
		default:
			return &ToolError{Tool: "rpmkeys", Cause: line, Output: report, err: err}
		}
	}
	switch {
	case others != "" && (signatures == 0 || !v.onlyKeysAreMissing(ctx, report)):
		return &ToolError{Tool: "rpmkeys", Cause: others, Output: report, err: err}
	case others != "":
		return datedRPM(file)
	case err == nil && signatures == 0:
		return ErrUnsigned
	case err != nil:
		return err
	}
	return datedRPM(file)
}

// rpmDatabase is a package database that knows the keys that count, and nothing else.
func (v verification) rpmDatabase(ctx context.Context) (string, error) {
	keys, err := v.keys()
	if err != nil {
		return "", err
	}
	files, sum := make([]string, len(keys)), sha256.New()
	for i, key := range keys {
		armored, err := key.Armor()
		if err != nil {
			return "", err
		}
		files[i] = v.path(fmt.Sprintf("key-%d.asc", i))
		if err := os.WriteFile(files[i], armored, 0o600); err != nil {
			return "", err
		}
		sum.Write(armored)
	}
	db := v.path("rpm")
	if v.Cache != "" { // an import takes longer than the verification: rpm syncs its database to the disk
		db = filepath.Join(v.Cache, fmt.Sprintf("rpm-%x", sum.Sum(nil)))
	}
	complete := db + ".complete"
	if _, err := os.Stat(complete); err == nil {
		return db, nil
	}
	for _, file := range files {
		if _, err := run(ctx, v.environment(), "", "rpmkeys", "--dbpath", db, "--import", file); err != nil {
			return "", err
		}
	}
	return db, os.WriteFile(complete, nil, 0o600)
}

// checksig lets rpmkeys report on a package. What it reports begins with the package's name, so
// the name that it gets is ours: a file's own may say anything.
func (v verification) checksig(ctx context.Context, db, file string) (string, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	const name = "input.rpm"
	if err := os.Symlink(file, v.path(name)); err != nil {
		return "", err
	}
	return run(ctx, v.environment(), v.scratch, "rpmkeys", "--dbpath", db, "--checksig", "--verbose", name)
}

// onlyKeysAreMissing reports whether what rpmkeys takes exception to are the keys of others who have
// signed the package, too: from rpm 6 on it can have several signatures, and each is of all of it.
func (v verification) onlyKeysAreMissing(ctx context.Context, report string) bool {
	for line := range strings.Lines(report) {
		item, text := strings.HasPrefix(line, "    "), strings.TrimSpace(line)
		missing := strings.HasSuffix(text, ": NOKEY") && strings.Contains(strings.ToLower(text), "signature")
		if strings.HasPrefix(line, "error:") || item && !missing && !strings.HasSuffix(text, ": OK") {
			return false
		}
	}
	version, _, err := RPMVersion(ctx, v.environment())
	return err == nil && rpmIsAtLeast(version, 6, 0)
}

// rpmSigner finds the key in a line of rpmkeys: an id, or from rpm 6 on a fingerprint.
var rpmSigner = regexp.MustCompile(`(?i)signature, key (?:id|fingerprint:?) ?([0-9a-f]{8,})`)

func (v verification) rpmSigners(ctx context.Context, file string) ([]signer, error) {
	if rpmIsUnsigned(file) {
		return nil, ErrUnsigned
	}
	// A package database that knows no key: rpmkeys then fails, and says which it misses.
	report, err := v.checksig(ctx, v.path("rpm"), file)
	if _, missing := errors.AsType[*MissingToolError](err); missing {
		return nil, err
	}
	var found []signer
	for _, match := range rpmSigner.FindAllStringSubmatch(report, -1) {
		found = append(found, keySigner(strings.ToUpper(match[1])))
	}
	if len(found) == 0 {
		return nil, ErrUnsigned
	}
	return found, nil
}

// rpmHoldsOne: packages of rpm's format 6 hold any number of signatures, and rpm 6 adds to them.
func (v verification) rpmHoldsOne(ctx context.Context, file string) (string, error) {
	version, _, err := RPMVersion(ctx, v.environment())
	if err != nil {
		return "", err
	}
	if !rpmIsAtLeast(version, 6, 0) {
		return "rpm " + version + " knows one signature in a package", nil
	}
	output, err := run(ctx, v.environment(), "", "rpm", "--query", "--nosignature", "--nodigest", "--dbpath", v.path("rpm"),
		"--queryformat", "format %{rpmformat}\n", "--package", file)
	if err != nil {
		return "", err
	}
	if !slices.Contains(strings.Split(output, "\n"), "format 6") { // among warnings
		return "only packages of rpm's format 6 hold several", nil
	}
	return "", nil
}
