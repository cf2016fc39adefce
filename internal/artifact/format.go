// Package artifact knows the files that releases are made of: how each is recognised, which
// tool signs it and which one verifies it. Each format is a file of this package and a row of
// the table formats. The tools are the distributions' own; this package runs them, and reads
// nothing of a signature that they can read themselves.
//
// It prepares neither keys nor credentials: OpenPGP formats need a GNUPGHOME whose agent can
// sign (OpenPGP), the others a key on a PKCS#11 token (X509).
package artifact

//go:generate go -C ../.. run ./scripts/formatspage

import (
	"context"
	"strings"
)

// Kind is a format with its own way of being signed.
type Kind string

// The kinds, named as users know them.
const (
	RPM          Kind = "rpm"           // signature in the package's header
	Deb          Kind = "deb"           // signature as a member of the archive
	Jar          Kind = "jar"           // signature under META-INF
	Authenticode Kind = "authenticode"  // PE, MSI, CAB, PowerShell: signature inside
	AptRelease   Kind = "apt-release"   // Release of an apt repository: InRelease and Release.gpg
	YumIndex     Kind = "yum-index"     // repomd.xml of a yum repository: repomd.xml.asc
	DebianUpload Kind = "debian-upload" // .changes, .buildinfo, .dsc: clear-signed in their place
	Plain        Kind = "file"          // anything else: detached OpenPGP signature, FILE.asc
	CMS          Kind = "cms"           // anything, when asked for: detached CMS signature, FILE.p7s
	Foreign      Kind = "foreign"       // signed by a tool that is none of ours: see ForeignError
)

// Facts are what people need to know of a format: docs/formats.md, the help of signkit sign and
// its plan are made of them. Each is a short phrase without a full stop.
type Facts struct {
	Files     string // what the files are
	Tool      string // the program that signs
	Judge     string // the program that verifies
	Versions  string // which versions of them do
	Keys      string // types of key that signer and verifiers take
	Several   string // what becomes of the signatures of others
	TimeStamp string // the kind of time-stamp; empty where the format has no room for one
	Limits    string // what cannot be signed, or is not read later; empty where nothing is known
}

// Format is what the table formats says of one format.
type Format struct {
	Facts
	Kind     Kind
	OpenPGP  bool     // see Kind.UsesOpenPGP
	Embedded bool     // see Kind.Embedded
	Asked    bool     // a file is signed so only on request
	Beside   []string // the signatures of a file named FILE; none where they are inside
}

// Formats lists the formats in the order in which a file is compared with them.
func Formats() []Format {
	var list []Format
	for _, f := range formats {
		list = append(list, f.describe())
	}
	return list
}

func (f format) describe() Format {
	return Format{
		Facts: f.facts, Kind: f.kind, OpenPGP: f.openPGP, Embedded: f.embedded, Asked: f.match == nil,
		Beside: SignatureNames(f.kind, "FILE"),
	}
}

// Place says where the signature goes.
func (f Format) Place() string {
	if f.Embedded {
		return "in the file"
	}
	return strings.Join(f.Beside, " and ")
}

// format is how one kind of file is recognised, signed and verified.
type format struct {
	facts    Facts
	kind     Kind
	openPGP  bool // signed with an OpenPGP key; the others take a key with an X.509 certificate
	embedded bool // the signature is inside: signing makes a new file of the same name

	// beside names the signatures of a file with this name, for formats that do not hold them inside.
	beside func(name string) []string

	// match reports whether a file is of this format; nil where it is signed so only on request.
	match func(c *candidate) bool

	// lists reads what a file lists of others, whose digests change when those are signed; it is nil for
	// a file that lists none. nil where no file of the kind does.
	lists func(path string) (*listing, error)

	// sign puts what it made into the empty folder dir and leaves the file alone.
	sign func(s *Signer, ctx context.Context, file, dir string) ([]Output, error)

	// signers are whom the signatures claim to be of, for OpenPGP formats. Nothing is verified.
	// The error is ErrUnsigned where there is none.
	signers func(v verification, ctx context.Context, file, dir string) ([]signer, error)

	// existing are whom those signatures in the file claim to be of that signing meets; nil for formats
	// with signatures beside the file. The error may be ErrUnsigned.
	existing func(v verification, ctx context.Context, file string) ([]signer, error)

	// single says why a file holds the signature of one signer only; empty where it holds several, and
	// signing adds one. nil for formats with signatures beside the file, which one signer makes.
	single func(v verification, ctx context.Context, file string) (why string, err error)

	// verify judges a file whose signatures, where they are files of their own, lie in dir.
	verify func(v verification, ctx context.Context, file, dir string) error
}

// formats in the order in which a file is compared with them. The last takes anything.
var formats = []format{
	rpmFormat, debFormat, jarFormat, authenticodeFormat, aptReleaseFormat, yumIndexFormat, uploadFormat, cmsFormat, plainFormat,
}

// format is the kind's row; the zero value for a kind that does not exist.
func (k Kind) format() format {
	for _, f := range formats {
		if f.kind == k {
			return f
		}
	}
	return format{kind: k}
}

// UsesOpenPGP reports whether the kind is signed with an OpenPGP key; the others take a key
// with an X.509 certificate.
func (k Kind) UsesOpenPGP() bool { return k.format().openPGP }

// Tool is the program that signs files of the kind.
func (k Kind) Tool() string { return k.format().facts.Tool }

// Embedded reports whether signing changes the file itself, and not just adds another.
func (k Kind) Embedded() bool { return k.format().embedded }

// list is what a file lists of others; nil for a file that lists none.
func (k Kind) list(path string) (*listing, error) {
	if lists := k.format().lists; lists != nil {
		return lists(path)
	}
	return nil, nil
}
