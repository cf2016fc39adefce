// Package artifact knows the files that releases are made of: how each is recognised, which
// tool signs it and which one verifies it. Each format is a file of this package and a row of
// the table formats. The tools are the distributions' own; this package runs them, and reads
// nothing of a signature that they can read themselves.
//
// It prepares neither keys nor credentials: OpenPGP formats need a GNUPGHOME whose agent can
// sign (OpenPGP), the others a key on a PKCS#11 token (X509).
package artifact

import (
	"context"
)

// Kind is a format with its own way of being signed.
type Kind string

// The kinds, named as users know them.
const (
	RPM          Kind = "rpm"          // signature in the package's header
	Deb          Kind = "deb"          // signature as a member of the archive
	Jar          Kind = "jar"          // signature under META-INF
	Authenticode Kind = "authenticode" // PE, MSI, CAB, PowerShell: signature inside
	AptRelease   Kind = "apt-release"  // Release of an apt repository: InRelease and Release.gpg
	YumIndex     Kind = "yum-index"    // repomd.xml of a yum repository: repomd.xml.asc
	Plain        Kind = "file"         // anything else: detached OpenPGP signature, FILE.asc
	CMS          Kind = "cms"          // anything, when asked for: detached CMS signature, FILE.p7s
)

// format is how one kind of file is recognised, signed and verified.
type format struct {
	kind     Kind
	openPGP  bool // signed with an OpenPGP key; the others take a key with an X.509 certificate
	embedded bool // the signature is inside: signing makes a new file of the same name

	// beside names the signatures of a file with this name, for formats that do not hold them inside.
	beside func(name string) []string

	// match reports whether a file is of this format; nil where it is signed so only on request.
	match func(c *candidate) bool

	// sign puts what it made into the empty folder dir and leaves the file alone.
	sign func(s *Signer, ctx context.Context, file, dir string) ([]Output, error)

	// signers names whom the signatures claim to be of, for OpenPGP formats. Nothing is verified.
	// The error is ErrUnsigned where there is none.
	signers func(v verification, ctx context.Context, file, dir string) (string, error)

	// verify judges a file whose signatures, where they are files of their own, lie in dir.
	verify func(v verification, ctx context.Context, file, dir string) error
}

// formats in the order in which a file is compared with them. The last takes anything.
var formats = []format{
	rpmFormat, debFormat, jarFormat, authenticodeFormat, aptReleaseFormat, yumIndexFormat, cmsFormat, plainFormat,
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

// Embedded reports whether signing changes the file itself, and not just adds another.
func (k Kind) Embedded() bool { return k.format().embedded }
