package artifact

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// archiveOf is a zip file of entries with content.
func archiveOf(t *testing.T, entries ...string) string {
	t.Helper()
	var buffer bytes.Buffer
	w := zip.NewWriter(&buffer)
	for _, text := range entries {
		name, content, _ := strings.Cut(text, "=")
		entry, err := w.Create(name)
		if err == nil {
			_, err = entry.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.String()
}

// appPackage is the least that osslsigncode takes for an app package.
func appPackage(t *testing.T) string {
	t.Helper()
	return archiveOf(t, "AppxManifest.xml=<Package/>",
		`AppxBlockMap.xml=<?xml version="1.0"?><BlockMap HashMethod="http://www.w3.org/2001/04/xmlenc#sha256"></BlockMap>`,
		`[Content_Types].xml=<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="xml" ContentType="text/xml"/></Types>`)
}

// object is a relocatable ELF file for x86-64 with one section of the name.
func object(t *testing.T, section string) string {
	t.Helper()
	names := "\x00" + section + "\x00.shstrtab\x00"
	var b bytes.Buffer
	put := func(value any) {
		if err := binary.Write(&b, binary.LittleEndian, value); err != nil {
			t.Fatal(err)
		}
	}
	header := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Shoff: uint64(64 + len(names)),
		Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2,
	}
	copy(header.Ident[:], elf.ELFMAG+"\x02\x01\x01")
	put(header)
	put([]byte(names))
	put(elf.Section64{})
	put(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: 64, Size: 1})
	put(elf.Section64{Name: uint32(len(section) + 2), Type: uint32(elf.SHT_STRTAB), Off: 64, Size: uint64(len(names))})
	return b.String()
}

func efiProgram() string {
	program := smallProgram()
	program[0x98+68] = 10
	return string(program)
}

// TestFilesOfOtherToolsAreKnown by their content where that tells, whatever they are called, and else by their names.
func TestFilesOfOtherToolsAreKnown(t *testing.T) {
	jar := archiveOf(t, "META-INF/MANIFEST.MF=Manifest-Version: 1.0\r\n\r\n")
	deviceTree := func(node string) string {
		return "\xd0\x0d\xfe\xed" + strings.Repeat("\x00", 60) + "\x00\x00\x00\x01" + node + "\x00"
	}
	tests := []struct {
		name, content string
		kind          Kind
		tool          string // of a foreign one
	}{
		{"app.apk", archiveOf(t, "AndroidManifest.xml=\x03\x00"), Foreign, "apksigner"},
		{"app.zip", archiveOf(t, "META-INF/MANIFEST.MF=Manifest-Version: 1.0\r\n\r\n", "AndroidManifest.xml=\x03\x00"), Foreign, "apksigner"},
		{"alpine.apk", "\x1f\x8b\x08", Foreign, "apksigner"},
		{"library.aar", archiveOf(t, "AndroidManifest.xml=<manifest/>", "classes.jar=x"), Plain, ""},
		{"app.aab", archiveOf(t, "base/manifest/AndroidManifest.xml=x"), Jar, ""},
		{"bundle.zip", archiveOf(t, "BundleConfig.pb=x"), Jar, ""},
		{"a.1.0.nupkg", archiveOf(t, "a.nuspec=<package/>", "[Content_Types].xml=<Types/>"), Foreign, "dotnet nuget sign"},
		{"a.1.0.snupkg", "anything", Foreign, "dotnet nuget sign"},
		{"a.zip", archiveOf(t, "a.nuspec=<package/>", "[Content_Types].xml=<Types/>"), Foreign, "dotnet nuget sign"},
		{"document.docx", archiveOf(t, "[Content_Types].xml=<Types/>"), Plain, ""},
		{"a.vsix", archiveOf(t, "extension.vsixmanifest=<x/>", "[Content_Types].xml=<Types/>"), Foreign, "vsixsigntool"},
		{"a.xpi", archiveOf(t, "install.rdf=x"), Foreign, "web-ext sign"},
		{"a.zip", archiveOf(t, `manifest.json={"manifest_version": 3, "name": "x"}`), Foreign, "web-ext sign"},
		{"web.zip", archiveOf(t, `manifest.json={"name": "an app for the web"}`), Plain, ""},
		{"a-1-py3-none-any.whl", archiveOf(t, "a/__init__.py=", "a-1.dist-info/WHEEL=Wheel-Version: 1.0"), Foreign, "pypi-attestations"},
		{"run", "#!/bin/sh\nexec java -jar \"$0\"\n" + jar, Foreign, "jarsigner, before"},
		{"exec.jar", "#!/bin/sh\nexec java -jar \"$0\"\n" + jar, Foreign, "jarsigner, before"},
		{"zipapp.pyz", "#!/usr/bin/python3\n" + archiveOf(t, "__main__.py=print()"), Plain, ""},
		{"app.exe", string(smallProgram()) + jar, Foreign, "sign4j"},
		{"selfextracting.exe", string(smallProgram()) + archiveOf(t, "readme.txt=x"), Authenticode, ""},
		{"grubx64.efi", efiProgram(), Foreign, "sbsign"},
		{"vmlinuz", efiProgram(), Foreign, "sbsign"},
		{"x.efi", "no program", Foreign, "sbsign"},
		{"driver.ko", object(t, ".modinfo"), Foreign, "sign-file"},
		{"driver", object(t, ".modinfo"), Foreign, "sign-file"},
		{"signed", elf.ELFMAG + "and the rest" + moduleSignature, Foreign, "sign-file"},
		{"driver.ko.zst", "\x28\xb5\x2f\xfd", Foreign, "sign-file"},
		{"object.o", object(t, ".text"), Plain, ""},
		{"program", elf.ELFMAG + "and no more", Plain, ""},
		{"kernel.itb", "anything", Foreign, "mkimage"},
		{"image", deviceTree("images"), Foreign, "mkimage"},
		{"board.dtb", deviceTree("cpus"), Plain, ""},
		{"update.raucb", "anything", Foreign, "rauc"},
		{"update", "hsqs" + strings.Repeat("x", 20) + "\x30\x02\x02\x00" + "\x00\x00\x00\x00\x00\x00\x00\x04", Foreign, "rauc"},
		{"image.squashfs", "hsqs" + strings.Repeat("\x00", 40), Plain, ""},
		{"a.snap", "hsqs" + strings.Repeat("\x00", 40), Foreign, "snap sign-build"},
		{"a.vbs", "WScript.Echo 1", Foreign, "signtool"},
		{"a.WSF", "<job/>", Foreign, "signtool"},
		{"app.msix", archiveOf(t, "AppxManifest.xml=<Package/>"), Authenticode, ""},
		{"app.bin", archiveOf(t, "AppxMetadata/AppxBundleManifest.xml=<Bundle/>"), Authenticode, ""},
		{"driver.cat", "\x30\x82", Authenticode, ""},
		{"a.js", "WScript.Echo(1)", Authenticode, ""},
		{"a.mof", "x", Authenticode, ""}, {"a.cdxml", "x", Authenticode, ""}, {"a.psc1", "x", Authenticode, ""}, {"a.psd1", "x", Authenticode, ""},
		{"a.rpm", "\xed\xab\xee\xdb", RPM, ""}, // content before names
		{"package.ko", "\xed\xab\xee\xdb", RPM, ""},
	}
	for _, test := range tests {
		file := textFile(t, test.name, test.content)
		kind, err := Detect(file)
		var other *ForeignError
		switch {
		case kind != test.kind:
			t.Errorf("%s (%.10q) is %q, %v; want %q", test.name, test.content, kind, err, test.kind)
		case kind != Foreign:
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		case !errors.As(err, &other) || !strings.Contains(err.Error(), test.tool) || !strings.Contains(err.Error(), "--detached"):
			t.Errorf("%s: %v; want the tool %s", test.name, err, test.tool)
		}
	}
}

// TestFilesOfOtherToolsAreRefusedUntilASignatureBesideThemIsAskedFor: for verifying it is enough that one is there.
func TestFilesOfOtherToolsAreRefusedUntilASignatureBesideThemIsAskedFor(t *testing.T) {
	dir := t.TempDir()
	apk, rpm := filepath.Join(dir, "app.apk"), filepath.Join(dir, "a.rpm")
	write(t, apk, "x")
	write(t, rpm, "\xed\xab\xee\xdb")
	jobs := plan(t, "", apk, rpm)
	ours, err := WithoutForeign(jobs, filepath.Base)
	if err == nil || !strings.HasPrefix(err.Error(), "app.apk is an Android package, which is signed with apksigner") || kindsOf(ours) != "rpm" {
		t.Errorf("refused with %v, %v are left", err, ours)
	}
	if ours, err := WithoutForeign(Detach(jobs, false), filepath.Base); err != nil || len(ours) != 2 {
		t.Errorf("with --detached: %v, %v", ours, err)
	}
	if kinds := kindsOf(Detach(jobs, true)); kinds != "cms cms" {
		t.Errorf("--detached --cms makes %s", kinds)
	}
	if kinds := kindsOf(DetachForeign(jobs, false, filepath.Dir)); kinds != "foreign rpm" {
		t.Errorf("without a signature: %s", kinds)
	}
	write(t, apk+".asc", "x")
	write(t, rpm+".asc", "x")
	if kinds := kindsOf(DetachForeign(jobs, false, filepath.Dir)); kinds != "file rpm" {
		t.Errorf("with signatures: %s", kinds)
	}
	if kinds := kindsOf(DetachForeign(jobs, true, filepath.Dir)); kinds != "foreign rpm" {
		t.Errorf("with signatures of the other sort: %s", kinds)
	}
	// Whatever forgets to refuse them signs nothing.
	if outputs, err := (&Signer{OpenPGP: &OpenPGP{}, X509: &X509{}}).Sign(deadline(t), Foreign, apk, t.TempDir()); err == nil {
		t.Errorf("signed as %v", outputs)
	}
}

func kindsOf(jobs []Job) string {
	var kinds []string
	for _, job := range jobs {
		kinds = append(kinds, string(job.Kind))
	}
	return strings.Join(kinds, " ")
}

// TestOldOsslsigncodeIsNoReasonForAnotherSignature: the version is looked at before anything is asked for.
func TestOldOsslsigncodeIsNoReasonForAnotherSignature(t *testing.T) {
	for _, test := range []struct{ version, name, want string }{
		{"2.5", "app.msix", "an app package (appx, msix) is signed by osslsigncode 2.7 or later, and this is 2.5"},
		{"2.7", "app.msix", ""},
		{"2.7", "driver.cat", "2.8 or later"},
		{"2.1.0", "run.ps1", "2.8 or later, and this is 2.1; signtool"},
		{"2.9", "run.ps1", ""},
		{"2.9", "a.mof", ""},
		{"2.9", "a.js", "JavaScript is signed by osslsigncode 2.10 or later"},
		{"2.14", "a.js", ""},
		{"3.0", "a.js", ""},
	} {
		stub(t, "osslsigncode", `case $1 in
  --version) echo "osslsigncode `+test.version+`, using:"; exit 1 ;;
  *) touch "`+filepath.Join(t.TempDir(), "called")+`"; exit 1 ;;
esac
`)
		file := textFile(t, test.name, "x\r\n")
		err := osslsigncodeKnows(deadline(t), os.Environ(), file)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("osslsigncode %s, %s: %v; want %q", test.version, test.name, err, test.want)
		}
		if test.want == "" {
			continue
		}
		batch := &Batch{Hands: []*Hand{{Signer: &Signer{X509: &X509{}, Environ: os.Environ()}, Verifier: &Verifier{Environ: os.Environ()}}}}
		if got := batch.Run(deadline(t), plan(t, "", file))[0]; got.Err == nil || !strings.Contains(got.Err.Error(), test.want) {
			t.Errorf("osslsigncode %s, %s: %v", test.version, test.name, got.Err)
		}
		if _, err := os.Stat(file + ".asc"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s.asc: %v", test.name, err)
		}
	}
}

// stub puts a program in front of those that are installed.
func stub(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}
