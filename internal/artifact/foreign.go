package artifact

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// foreign is a format whose signature a tool makes that is none of ours, and whose consumers look for
// no other. A signature beside such a file is made on request only.
type foreign struct {
	name    string                  // for a person
	endings []string                // of names, in lower case; they count where the content is of no format of ours
	match   func(c *candidate) bool // by content, before our own formats are looked at; nil: the name alone tells
	tool    string                  // signs it
}

// foreigns in the order in which a file is compared with them.
var foreigns = []foreign{
	{"an Android package", []string{".apk", ".apks", ".xapk"}, isAndroidPackage, "apksigner"},
	{"a NuGet package", []string{".nupkg", ".snupkg"}, isNuGetPackage, "dotnet nuget sign"},
	{"an extension of Visual Studio", []string{".vsix"}, hasEntry("extension.vsixmanifest"), "dotnet sign or vsixsigntool"},
	{"a browser extension", []string{".xpi"}, isBrowserExtension, "web-ext sign"},
	{"a Python wheel", []string{".whl"}, isWheel, "pypi-attestations sign"},
	{"a script with a jar appended", nil, isScriptWithJar, "jarsigner, before the script is prepended"},
	{"a program with a jar appended, as by launch4j", nil, isProgramWithJar, "sign4j or jsign"},
	{"an EFI program", []string{".efi"}, isEFIProgram, "sbsign"},
	{"a module of the Linux kernel", []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"}, isKernelModule, "sign-file of the kernel's scripts, before compression"},
	{"a boot image (FIT)", []string{".fit", ".itb"}, isFIT, "mkimage -F -k"},
	{"an update bundle of RAUC", []string{".raucb"}, isRAUCBundle, "rauc bundle or rauc resign"},
	{"a snap", []string{".snap"}, nil, "snap sign-build"},
	{"a script of Windows Script Host", []string{".vbs", ".vbe", ".jse", ".wsf"}, nil, "signtool"},
}

// ForeignFormat is what people need to know of a format that another tool signs.
type ForeignFormat struct {
	Name, Tool string
	Endings    []string // of names that tell; the content may tell, too
}

// ForeignFormats lists them in the order in which a file is compared with them.
func ForeignFormats() []ForeignFormat {
	var list []ForeignFormat
	for _, f := range foreigns {
		list = append(list, ForeignFormat{Name: f.name, Tool: f.tool, Endings: f.endings})
	}
	return list
}

// ForeignError is the error for a file that another tool signs.
type ForeignError struct {
	File string
	foreign
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("%s is %s, which is signed with %s; --detached asks for a signature beside it", e.File, e.name, e.tool)
}

func foreignContent(c *candidate) *foreign {
	return findForeign(func(f foreign) bool { return f.match != nil && f.match(c) })
}

func foreignName(c *candidate) *foreign {
	return findForeign(func(f foreign) bool {
		return slices.ContainsFunc(f.endings, func(ending string) bool { return strings.HasSuffix(strings.ToLower(c.name), ending) })
	})
}

func findForeign(is func(f foreign) bool) *foreign {
	if i := slices.IndexFunc(foreigns, is); i >= 0 {
		return &foreigns[i]
	}
	return nil
}

// Detach makes every job one for a signature beside the file, whatever the file is: an OpenPGP
// one, or with cms a CMS one.
func Detach(jobs []Job, cms bool) []Job {
	var detached []Job
	for _, job := range jobs {
		job.Kind = Plain
		if cms {
			job.Kind = CMS
		}
		detached = append(detached, job)
	}
	return detached
}

// DetachForeign does so for what another tool signs, where such a signature lies in the folder
// that is asked for: somebody has made it on request.
func DetachForeign(jobs []Job, cms bool, folder func(file string) string) []Job {
	var list []Job
	for _, job := range jobs {
		beside := Detach([]Job{job}, cms)[0]
		_, err := os.Stat(filepath.Join(folder(job.File), SignatureNames(beside.Kind, job.File)[0]))
		if job.Kind == Foreign && err == nil {
			job = beside
		}
		list = append(list, job)
	}
	return list
}

// WithoutForeign are the jobs that are none of other tools. The error says of each file that another
// tool signs which one that is: a *FileError, or several joined; display is how to call a file.
func WithoutForeign(jobs []Job, display func(file string) string) (ours []Job, err error) {
	var problems []error
	for _, job := range jobs {
		if job.Kind != Foreign {
			ours = append(ours, job)
			continue
		}
		_, err := Detect(job.File)
		if other, ok := errors.AsType[*ForeignError](err); ok {
			other.File = display(job.File)
		} else {
			err = fmt.Errorf("%s has changed meanwhile", display(job.File))
		}
		problems = append(problems, &FileError{job.File, err})
	}
	return ours, errors.Join(problems...)
}

func hasEntry(name string) func(c *candidate) bool {
	return func(c *candidate) bool { return c.hasMagic("PK\x03\x04") && c.hasEntry(name) }
}

// isAndroidPackage wants an app's manifest; libraries (AAR) have one, too, beside their classes.jar,
// and lie in Maven repositories, whose signatures are files of their own.
func isAndroidPackage(c *candidate) bool {
	return hasEntry("AndroidManifest.xml")(c) && !c.hasExtension(".aar") && !c.hasEntry("classes.jar")
}

// isNuGetPackage knows a package of symbols, too (docs.microsoft.com, "nupkg").
func isNuGetPackage(c *candidate) bool {
	return hasEntry("[Content_Types].xml")(c) && c.hasEntryLike("*.nuspec")
}

// isBrowserExtension reads the one key that each manifest has (MDN, "manifest_version").
func isBrowserExtension(c *candidate) bool {
	if !c.hasMagic("PK\x03\x04") {
		return false
	}
	entry := c.entry("manifest.json")
	if entry == nil {
		return false
	}
	content, err := entry.Open()
	if err != nil {
		return false
	}
	defer content.Close()
	var manifest struct {
		Version int `json:"manifest_version"`
	}
	return json.NewDecoder(io.LimitReader(content, 1<<20)).Decode(&manifest) == nil && manifest.Version > 0
}

// isWheel looks for what each wheel has (PEP 427).
func isWheel(c *candidate) bool {
	return c.hasMagic("PK\x03\x04") && c.hasEntryLike("*.dist-info/WHEEL")
}

// isScriptWithJar knows what Java runs from behind a script, and loses when jarsigner writes the archive anew.
func isScriptWithJar(c *candidate) bool {
	return c.hasMagic("#!") && c.hasEntry("META-INF/MANIFEST.MF")
}

// isProgramWithJar knows what Java no longer finds where a signature is put behind the archive.
func isProgramWithJar(c *candidate) bool {
	return isPE(c.content, c.head) && c.hasEntry("META-INF/MANIFEST.MF")
}

// isEFIProgram reads the subsystem of a PE file (PE format, "Windows Subsystem"): 10 to 13 are EFI's.
func isEFIProgram(c *candidate) bool {
	if !isPE(c.content, c.head) {
		return false
	}
	var subsystem [2]byte
	header := int64(binary.LittleEndian.Uint32(c.head[0x3c:])) + 4 + 20 // signature, COFF header
	if _, err := c.content.ReadAt(subsystem[:], header+68); err != nil {
		return false
	}
	n := binary.LittleEndian.Uint16(subsystem[:])
	return n >= 10 && n <= 13
}

// moduleSignature ends a signed module (Documentation/admin-guide/module-signing.rst).
const moduleSignature = "~Module signature appended~\n"

func isKernelModule(c *candidate) bool {
	if !c.hasMagic(elf.ELFMAG) {
		return false
	}
	end := make([]byte, len(moduleSignature))
	if _, err := c.content.ReadAt(end, c.size-int64(len(end))); err == nil && string(end) == moduleSignature {
		return true
	}
	if len(c.head) < 18 || c.head[16]+c.head[17] != byte(elf.ET_REL) { // in either order of octets: neither program nor library
		return false
	}
	file, err := elf.NewFile(c.content)
	return err == nil && file.Type == elf.ET_REL && file.Section(".modinfo") != nil
}

// isFIT wants a device tree that has images (U-Boot, "Flat Image Tree"): others describe hardware.
func isFIT(c *candidate) bool {
	const beginNode = "\x00\x00\x00\x01"
	return c.hasMagic("\xd0\x0d\xfe\xed") && bytes.Contains(c.head, []byte(beginNode+"images\x00"))
}

// isRAUCBundle looks for the CMS message behind a SquashFS, and for its size at the end (RAUC, "Bundle formats").
func isRAUCBundle(c *candidate) bool {
	if !c.hasMagic("hsqs") || c.size < 16 {
		return false
	}
	var size [8]byte
	if _, err := c.content.ReadAt(size[:], c.size-8); err != nil {
		return false
	}
	n := binary.BigEndian.Uint64(size[:])
	if n < 2 || n > uint64(c.size-8) {
		return false
	}
	var tag [1]byte
	_, err := c.content.ReadAt(tag[:], c.size-8-int64(n))
	return err == nil && tag[0] == 0x30 // SEQUENCE
}
