package artifact

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// structure is content for one of the checks that read a file before its verifier does. None of them
// carries a signature that anybody would take.
type structure struct {
	name    string
	content []byte
	want    string // in the error; empty: taken
	onlyUs  bool   // the sample leaves it to the tool
}

func checkAll(t *testing.T, tests []structure, check func(content []byte) error) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := check(test.content)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

// checkWithSample is checkAll, and lets the sample judge what was refused, too: its words are in says.
func checkWithSample(t *testing.T, tests []structure, name, says string, arguments func(t *testing.T) []string, check func(content []byte) error) {
	t.Helper()
	checkAll(t, tests, check)
	for _, test := range tests {
		t.Run(test.name+"/sample", func(t *testing.T) {
			output, err := sample(t, append(arguments(t), textFile(t, name, string(test.content)))...)
			refused := err != nil && strings.Contains(output, says)
			if want := test.want != "" && test.want != ErrUnsigned.Error() && !test.onlyUs; refused != want || err == nil {
				t.Errorf("refused for its structure: %v, want %v\n%s", refused, want, output)
			}
		})
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// der is a DER structure: a SEQUENCE of nothing.
var der = []byte{0x30, 0}

// TestArchiveIsReadAlikeFromBothEnds: a jar is nothing but its entries and their directory.
func TestArchiveIsReadAlikeFromBothEnds(t *testing.T) {
	stored, deflated, empty := zipOf(t, zip.Store, "a", "b"), zipOf(t, zip.Deflate, "a", "dir/b"), zipOf(t, zip.Deflate)
	local := stored[:bytes.Index(stored, []byte("PK\x01\x02"))]
	directory := stored[len(local):]
	other := bytes.Replace(stored, []byte("PK\x03\x04"), []byte("PK\x03\x05"), 1)
	renamed := bytes.Clone(stored)
	renamed[30] = 'c' // the name of the first entry, where it stands
	comment := bytes.Clone(stored)
	comment[len(comment)-2] = 5
	with := func(archive []byte, at int, octet byte) []byte {
		changed := bytes.Clone(archive)
		changed[at] = octet
		return changed
	}
	descriptor := bytes.Index(deflated, []byte("PK\x07\x08"))
	// shift changes what the directory says of where entries stand, and its end of where it stands itself.
	shift := func(directory []byte, entries, end uint32) []byte {
		moved := bytes.Clone(directory)
		add := func(at int, by uint32) {
			binary.LittleEndian.PutUint32(moved[at:], binary.LittleEndian.Uint32(moved[at:])+by)
		}
		for at := 0; bytes.HasPrefix(moved[at:], []byte("PK\x01\x02")); at += 46 + 1 {
			add(at+42, entries)
		}
		add(len(moved)-6, end)
		return moved
	}
	checkAll(t, []structure{
		{"stored", stored, "", false},
		{"with data descriptors", deflated, "", false},
		{"no entry", empty, "", false},
		{"octets before the first entry", join([]byte("#!/bin/sh\n"), local, shift(directory, 10, 10)), "before them", false},
		{"octets before the directory", join(local, []byte("more"), shift(directory, 0, 4)), "directory is not where", false},
		{"an entry that is not listed", join(local, local, shift(directory, uint32(len(local)), uint32(len(local)))), "does not list so", false},
		{"another name in the directory", renamed, "does not list so", false},
		{"two directories", join(local, directory[:len(directory)-22], directory), "unexpected EOF", false},
		{"another number of entries", with(stored, len(stored)-12, 3), "unexpected EOF", false},
		{"no length before a stored entry", with(with(stored, 18, 0), 22, 0), "does not list so", false},
		{"another length before a stored entry", with(stored, 18, 5), "does not list so", false},
		{"other flags", with(stored, 6, 1), "does not list so", false},
		{"another length behind a deflated entry", with(deflated, descriptor+8, 1), "is not its length", false},
		{"no local header", other, "not a valid zip file", false},
		{"a comment", join(comment, []byte("hello")), "", false},
		{"a comment that is more", join(comment, []byte("PK\x05\x06.")), "another end of it", false},
		{"octets behind a comment", join(comment, []byte("hello!")), "octets behind its end", false},
	}, func(content []byte) error {
		archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
		if err != nil {
			return err
		}
		return checkZip(bytes.NewReader(content), int64(len(content)), archive)
	})
}

func zipOf(t *testing.T, method uint16, entries ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range entries {
		header := &zip.FileHeader{Name: name, Method: method}
		content := []byte("content of " + name)
		if method == zip.Store { // without a data descriptor
			header.CompressedSize64, header.UncompressedSize64 = uint64(len(content)), uint64(len(content))
			entry, err := w.CreateRaw(header)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = entry.Write(content)
			continue
		}
		entry, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = entry.Write(content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestJarHasNoSignatureFileThatNobodyChecks, as the block, its .SF file and SIG-* are.
func TestJarHasNoSignatureFileThatNobodyChecks(t *testing.T) {
	for name, entries := range map[string][]string{
		"without a signature":         {"META-INF/OTHER.SF"},
		"which jarsigner does not":    {"META-INF/SIG-OTHER"},
		"has the entry \"a.txt\" twi": {"a.txt", "a.txt"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readJarSignatures(jarFile(t, entries...))
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%v, want %q", err, name)
			}
		})
	}
}

func osslsigncodeSample(t *testing.T) []string {
	t.Helper()
	need(t, "osslsigncode", "openssl")
	return []string{"osslsigncode/verify.sh", "--no-timestamp", "--root", rootsFile(t, issue(t, "Root", nil, nil))}
}

// TestProgramEndsWithItsSignatures, and nothing stands beside them: no digest covers that.
func TestProgramEndsWithItsSignatures(t *testing.T) {
	// program appends a table of entries; the lengths are those that the header and the entry have.
	program := func(content []byte, tableSize, entryLength int) []byte {
		p := smallProgram()
		binary.LittleEndian.PutUint32(p[0x98+112+4*8:], uint32(len(p)))
		binary.LittleEndian.PutUint32(p[0x98+112+4*8+4:], uint32(tableSize))
		entry := binary.LittleEndian.AppendUint32(nil, uint32(entryLength))
		return join(p, entry, []byte{0, 2, 2, 0}, content)
	}
	zeros := make([]byte, 16)
	checkWithSample(t, []structure{
		{"unsigned", smallProgram(), ErrUnsigned.Error(), false},
		{"padded", program(join(der, zeros[:6]), 16, 10), "", false},
		{"padding that counts", program(join(der, zeros[:6]), 16, 16), "", false},
		{"octets behind the table", program(join(der, zeros[:6], []byte("more")), 16, 10), "behind its signatures", false},
		{"octets in the padding", program(join(der, []byte("more!!")), 16, 10), "beside the signature", true},
		{"octets behind the structure", program(join(der, []byte("more!!")), 16, 16), "beside the signature", true},
		{"much padding", program(join(der, zeros[:14]), 24, 24), "beside the signature", false},
		{"an entry longer than the table", program(join(der, zeros[:6]), 16, 24), "damaged", true},
		{"no DER", program([]byte("nonsense"), 16, 16), "reading a signature", false},
		{"a table that begins behind the end", program(nil, 16, 16), "behind its signatures", false},
	}, "app.exe", "behind or beside its signature", osslsigncodeSample, func(content []byte) error { return placeOfSignatures(t, "app.exe", content) })
}

// TestCabinetEndsWithItsSignature.
func TestCabinetEndsWithItsSignature(t *testing.T) {
	cabinet := func(reserved, at, length int, behind []byte) []byte {
		c := make([]byte, 100)
		copy(c, cabMagic)
		binary.LittleEndian.PutUint32(c[8:], uint32(len(c)))
		c[30], c[36] = 4, byte(reserved)
		binary.LittleEndian.PutUint32(c[44:], uint32(at))
		binary.LittleEndian.PutUint32(c[48:], uint32(length))
		return append(c, behind...)
	}
	padded := join(der, make([]byte, 6))
	set := func(at int, flags byte) []byte {
		c := cabinet(20, 100, 8, padded)
		c[30], c[at] = 4|flags, 1
		return c
	}
	checkWithSample(t, []structure{
		{"signed", cabinet(20, 100, 8, padded), "", false},
		{"unsigned", cabinet(0, 0, 0, nil), ErrUnsigned.Error(), false},
		{"room for a signature", cabinet(20, 0, 0, nil), ErrUnsigned.Error(), false},
		{"octets behind", cabinet(20, 100, 8, join(padded, []byte("more"))), "beside its signature", false},
		{"octets before", cabinet(20, 104, 8, join([]byte("more"), padded)), "beside its signature", false},
		{"octets in it", cabinet(20, 100, 8, join(der, []byte("more!!"))), "beside the signature", true},
		{"cut off", []byte(cabMagic), "header", true},
		{"a number without a set", set(34, 0), "in its header", true},
		{"a number in a set", set(34, 1), "", false},
		{"octets in the field", set(52, 0), "in its header", true},
		{"octets at the field's end of a set", set(55, 2), "in its header", true},
	}, "app.cab", "behind or beside its signature", osslsigncodeSample, func(content []byte) error { return placeOfSignatures(t, "app.cab", content) })
}

// TestInstallerIsItsStreams: what belongs to none is empty.
func TestInstallerIsItsStreams(t *testing.T) {
	whole := smallInstaller()
	// Where its sectors stand: the allocation table, the directory, the table of mini sectors and these.
	const table, directory, miniTable, mini, stream = 512, 1024, 1536, 2048, 2560
	const end, slack = 0xfffffffe, mini + 64 + 4
	set := func(at int, word uint32) func([]byte) []byte {
		return func(c []byte) []byte {
			binary.LittleEndian.PutUint32(c[at:], word)
			return c
		}
	}
	behind := func(entry uint32, content string) func([]byte) []byte {
		return func(c []byte) []byte {
			binary.LittleEndian.PutUint32(c[table+4*12:], entry)
			return append(c, (content + strings.Repeat("\x00", 512-len(content)))...)
		}
	}
	tests := []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"whole", bytes.Clone, ""},
		{"what memory held behind a stream", set(slack, 1), ""},
		{"an end in the rest of the mini table", set(miniTable+4*10, end), ""},
		{"an empty sector that is free", behind(cfbFree, ""), ""},
		{"a sector that is free and not empty", behind(cfbFree, "more"), "no stream"},
		{"a sector that ends no chain", behind(end, "more"), "no stream"},
		{"an empty one that ends no chain", behind(end, ""), "no stream"},
		{"a mini sector that is free and not empty", set(mini+2*64, 1), "no stream"},
		{"a mini sector that ends no chain", set(miniTable+4*2, end), "no stream"},
		{"an entry for no sector", set(table+4*20, 5), "damaged"},
		{"an entry of the mini table for none", set(miniTable+4*20, 5), "damaged"},
		{"a chain that is too long", func(c []byte) []byte { return set(table+4*11, 12)(behind(end, "more")(c)) }, "more or fewer"},
		{"a chain that is too short", set(table+4*10, end), "more or fewer"},
		{"a circle", set(table+4*11, 4), "damaged"},
		{"a circle of mini sectors", set(miniTable+4, 0), "damaged"},
		{"two streams in one sector", set(directory+2*128+116, 2), "damaged"},
		{"a stream that begins behind the end", set(directory+2*128+116, 400), "damaged"},
		{"an entry that leads to itself", set(directory+2*128+68, 2), "directory"},
		{"an entry that nothing leads to", set(directory+128+72, cfbFree), "nothing leads to"},
		{"octets behind a name", set(directory+128+40, 1), "directory"},
		{"octets in a free entry", set(directory+3*128+100, 1), "nothing leads to"},
		{"a root that is a stream", func(c []byte) []byte { c[directory+66] = 2; return c }, "directory"},
		{"octets behind", func(c []byte) []byte { return append(c, "more"...) }, "last sector"},
		{"a sector size that there is not", func(c []byte) []byte { c[0x1e] = 10; return c }, "header is damaged"},
		{"a class in the header", set(8, 1), "header is damaged"},
		{"a table of the table that refers to itself", func(c []byte) []byte { return set(0x44, 12)(behind(12, strings.Repeat("\x0c\x00\x00\x00", 128))(c)) }, "damaged"},
		{"a sector of the table that is not counted", set(0x50, 1), "damaged"},
		{"more of the table than the file", set(0x2c, 1<<31), "damaged"},
		{"cut off", func(c []byte) []byte { return c[:600] }, "last sector"},
	}
	var structures []structure
	for _, test := range tests {
		structures = append(structures, structure{test.name, test.change(bytes.Clone(whole)), test.want, false})
	}
	checkAll(t, structures, func(content []byte) error { return unlessUnsigned(placeOfSignatures(t, "app.msi", content)) })
}

// smallInstaller has two streams, one of them in the mini sectors 0 and 1 of four, the other in sectors 4 to 11.
func smallInstaller() []byte {
	const end, tables = 0xfffffffe, 0xfffffffd
	words := func(size int, words ...uint32) []byte {
		sector := bytes.Repeat([]byte{0xff}, size)
		for i, word := range words {
			binary.LittleEndian.PutUint32(sector[4*i:], word)
		}
		return sector
	}
	header := join([]byte(msiMagic), make([]byte, 0x4c-len(msiMagic)), words(512-0x4c, 0))
	binary.LittleEndian.PutUint16(header[0x1a:], 3)
	header[0x1e], header[0x20] = 9, 6
	for at, word := range map[int]uint32{0x2c: 1, 0x30: 1, 0x38: 4096, 0x3c: 2, 0x40: 1, 0x44: end} {
		binary.LittleEndian.PutUint32(header[at:], word)
	}
	entry := func(name byte, kind byte, right, child, first, size uint32) []byte {
		e := make([]byte, 128)
		e[0], e[64], e[66] = name, 4, kind
		for at, word := range map[int]uint32{68: cfbFree, 72: right, 76: child, 116: first, 120: size} {
			binary.LittleEndian.PutUint32(e[at:], word)
		}
		return e
	}
	free := make([]byte, 128)
	copy(free[68:80], words(12))
	return join(header,
		words(512, tables, end, end, end, 5, 6, 7, 8, 9, 10, 11, end),
		entry('R', cfbRoot, cfbFree, 1, 3, 4*64), entry('a', cfbStream, 2, cfbFree, 0, 64+4), entry('b', cfbStream, cfbFree, cfbFree, 4, 4096), free,
		words(512, 1, end), make([]byte, 512), bytes.Repeat([]byte("stream.\n"), 512))
}

// TestScriptEndsWithItsSignatureBlock.
func TestScriptEndsWithItsSignatureBlock(t *testing.T) {
	const begin, end = "# SIG # Begin signature block\r\n", "# SIG # End signature block\r\n"
	const script = "Write-Output 1\r\n\r\n" + begin + "# MIIB\r\n# AA+/AA==\r\n" + end
	utf16LE := "\xff\xfe"
	for _, c := range []byte(script) {
		utf16LE += string(rune(c)) + "\x00"
	}
	block := "<obj/>\r\n<!-- SIG # Begin signature block -->\r\n<!-- MIIB -->\r\n<!-- SIG # End signature block -->\r\n"
	checkWithSample(t, []structure{
		{"comments", []byte(script), "", false},
		{"no line end at the end", []byte(strings.TrimSuffix(script, "\r\n")), "", false},
		{"XML", []byte(block), "", false},
		{"UTF-16", []byte(utf16LE), "", false},
		{"unsigned", []byte("Write-Output 1\r\n"), ErrUnsigned.Error(), false},
		{"a line behind", []byte(script + "Write-Output 2\r\n"), "in or behind", false},
		{"a line in it", []byte(strings.Replace(script, "# AA+/AA==", "Write-Output 2", 1)), "in or behind", false},
		{"another block", []byte(script + script), "in or behind", false},
		{"no end", []byte(strings.TrimSuffix(script, end)), "in or behind", false},
		{"no line before it", []byte(script[strings.Index(script, begin):]), "", false},
		{"another octet before it", []byte(strings.Replace(script, "\r\n"+begin, ";\n"+begin, 1)), "in or behind", true},
		{"half a character behind", []byte(utf16LE + "x"), "half a character", false},
		{"other line ends", []byte(strings.ReplaceAll(script, "\r\n", "\n")), "in or behind", true},
	}, "app.ps1", "behind or beside its signature", osslsigncodeSample, func(content []byte) error { return placeOfSignatures(t, "app.ps1", content) })
}

// TestScriptsOfOtherLanguagesEndSo, too: the blocks are as osslsigncode 2.9 and 2.14 write them.
func TestScriptsOfOtherLanguagesEndSo(t *testing.T) {
	const (
		management = "x\r\n/* SIG # Begin signature block */\r\n/* MIIB */\r\n/* AAAA */\r\n/* SIG # End signature block */\r\n"
		javaScript = "x\r\n// SIG // Begin signature block\r\n// SIG // MIIB\r\n// SIG // AAAA\r\n// SIG // End signature block\r\n"
	)
	checkAll(t, []structure{
		{"of management", []byte(management), "", false},
		{"of management, a line behind", []byte(management + "x\r\n"), "in or behind", false},
		{"JavaScript", []byte(javaScript), "", false},
		{"JavaScript, a line in it", []byte(strings.Replace(javaScript, "// SIG // AAAA", "x", 1)), "in or behind", false},
	}, func(content []byte) error { return placeOfSignatures(t, "app.js", content) })
}

// TestDebMembersAreWhatTheirNamesSay: a signature covers the members' contents one behind the other.
func TestDebMembersAreWhatTheirNamesSay(t *testing.T) {
	need(t, "ar", "debsig-verify")
	key := softKey(t, "ours")
	debSample := func(*testing.T) []string { return []string{"deb/verify.sh", key.PublicKey} }
	version, control, data := member{"debian-binary", "2.0\n"}, member{"control.tar.gz", "\x1f\x8b.."}, member{"data.tar", tarOf(t)}
	whole := tarOf(t)
	checkWithSample(t, []structure{
		{"as it should be", ar(version, control, data), "", false},
		{"a longer version", ar(member{"debian-binary", "2.0\n\n"}, control, data), "does not say 2.0", false},
		{"a shorter version", ar(member{"debian-binary", "2.0"}, control, data), "does not say 2.0", false},
		{"another compression", ar(version, member{"control.tar.gz", "\xfd7zXZ\x00"}, data), "control.tar.gz: it does not begin", false},
		{"nothing in it", ar(version, control, member{"data.tar.xz", ""}), "data.tar.xz: it does not begin", false},
		{"octets behind the tar", ar(version, control, member{"data.tar", whole + strings.Repeat("x", 512)}), "data.tar: ", false},
		{"a tar without its end", ar(version, control, member{"data.tar", whole[:1024]}), "data.tar: ", false},
		{"an odd tar", ar(version, control, member{"data.tar", whole + "x"}), "data.tar: ", true},
		{"no tar", ar(version, control, member{"data.tar", strings.Repeat("x", 2048)}), "data.tar: ", true},
	}, "demo.deb", "verify.sh: ", debSample, func(content []byte) error {
		_, err := debMembers(bytes.NewReader(content), int64(len(content)))
		return err
	})
}

// TestDetachedSignatureIsOfOctets, and nothing else stands in its file.
func TestDetachedSignatureIsOfOctets(t *testing.T) {
	key := softKey(t, "ours")
	file := textFile(t, "app.bin", "content\n")
	sign := func(args ...string) []byte {
		t.Helper()
		signature := filepath.Join(t.TempDir(), "signature")
		shell(t, "", "gpg", append([]string{"--homedir", key.Home, "--batch", "--output", signature}, append(args, file)...)...)
		data, err := os.ReadFile(signature)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	detached, octets := sign("--armor", "--detach-sign"), sign("--detach-sign")
	checkAll(t, []structure{
		{"armored", detached, "", false},
		{"octets", octets, "", false},
		{"two signatures", join(octets, octets), "", false},
		{"of text", sign("--armor", "--textmode", "--detach-sign"), "is signed as octets", false},
		{"a signed message", sign("--sign"), "more than a signature", false},
		{"text behind it", join(detached, []byte("more\n")), "something beside", false},
		{"a second armor", join(detached, detached), "something beside", false},
		{"text before it", join([]byte("more\n"), detached), "reading the signature", false},
		{"cut off", detached[:len(detached)/2], "has no end", false},
		{"nothing", nil, "reading", false},
		{"another armor", bytes.ReplaceAll(detached, []byte("PGP SIGNATURE-----\n"), []byte("PGP OTHER-----\n")), "something beside", false},
		{"a second armor before it", join([]byte("-----BEGIN OTHER-----\n\naaaa\n-----END OTHER-----\n"), detached), "something beside", false},
	}, func(content []byte) error {
		_, err := readDetached(content)
		return err
	})
	t.Run("of text/samples", func(t *testing.T) {
		signed := filepath.Join(filepath.Dir(file), "app.bin.asc")
		for name, test := range map[string]struct {
			signature []byte
			want      bool
		}{"octets": {detached, true}, "text": {sign("--armor", "--textmode", "--detach-sign"), false}} {
			write(t, signed, string(test.signature))
			for _, arguments := range [][]string{{"gpg/verify.sh", key.PublicKey, signed, file}, {"maven/verify.sh", key.PublicKey, file}} {
				if output, err := sample(t, arguments...); (err == nil) != test.want {
					t.Errorf("%s: %s: %v\n%s", name, arguments[0], err, output)
				}
			}
		}
	})
}

// TestInReleaseIsReleaseAndItsSignature, and nothing that a reader could drop or take for another text.
func TestInReleaseIsReleaseAndItsSignature(t *testing.T) {
	key := softKey(t, "ours")
	const release = "Origin: demo\nSuite: stable \nSHA256:\n"
	file := textFile(t, "Release", release)
	shell(t, filepath.Dir(file), "gpg", "--homedir", key.Home, "--batch", "--output", "InRelease", "--clear-sign", file)
	signed, err := os.ReadFile(filepath.Join(filepath.Dir(file), "InRelease"))
	if err != nil {
		t.Fatal(err)
	}
	checkAll(t, []structure{
		{"as gpg makes it", signed, "", false},
		{"text before it", join([]byte("Suite: testing\n\n"), signed), "does not begin", false},
		{"text behind it", join(signed, []byte("Suite: testing\n")), "more than one", false},
		{"twice", join(signed, signed), "more than one", false},
		{"no signature", signed[:40], "more than one", false},
		{"a NUL at the end of a line", bytes.Replace(signed, []byte("demo"), []byte("demo\x00"), 1), "control character 0x00", false},
		{"a form feed", bytes.Replace(signed, []byte("demo"), []byte("de\fmo"), 1), "control character 0x0c", false},
	}, func(content []byte) error {
		_, err := readInRelease(textFile(t, "InRelease", string(content)))
		return err
	})
}

// TestOneOfSeveralSignersIsNamed: gpgv is not asked about the signatures of the others, whose keys it would miss.
func TestOneOfSeveralSignersIsNamed(t *testing.T) {
	need(t, "gpg", "gpgv")
	ours, other, stranger := softKey(t, "ours"), softKey(t, "other"), softKey(t, "stranger")
	file := textFile(t, "app.bin", "content\n")
	var both []byte
	for _, key := range []*OpenPGP{other, ours} {
		signature := filepath.Join(t.TempDir(), "signature")
		shell(t, "", "gpg", "--homedir", key.Home, "--batch", "--output", signature, "--detach-sign", file)
		data, err := os.ReadFile(signature)
		if err != nil {
			t.Fatal(err)
		}
		both = append(both, data...)
	}
	write(t, file+".asc", string(both))
	verdicts := []verdict{
		{"ours", &Verifier{PublicKey: ours.PublicKey}, ""},
		{"the other", &Verifier{PublicKey: other.PublicKey}, ""},
		{"a stranger", &Verifier{PublicKey: stranger.PublicKey}, "signed by the key " + other.Fingerprint + " and the key " + ours.Fingerprint + ", and not by a key that was named"},
	}
	judge(t, Plain, file, verdicts)
	tamper(t, file)
	for i := range verdicts[:2] {
		verdicts[i].want = "BAD signature"
	}
	judge(t, Plain, file, verdicts)
}

// placeOfSignatures is what is amiss with the place of the signatures in a file.
func placeOfSignatures(t *testing.T, name string, content []byte) error {
	_, err := embeddedSignatures(textFile(t, name, string(content)))
	return err
}

// unlessUnsigned is for what is read as a whole whether it is signed or not.
func unlessUnsigned(err error) error {
	if errors.Is(err, ErrUnsigned) {
		return nil
	}
	return err
}

// TestSignaturesAreReadWithoutATool: a file that is about to be signed may come from anybody, and so may what it holds.
func TestSignaturesAreReadWithoutATool(t *testing.T) {
	need(t, "osslsigncode", "openssl")
	installer, err := os.ReadFile("../../tests/integration/testdata/tiny.msi")
	if err != nil {
		t.Fatal(err)
	}
	vendor := issue(t, "Vendor", issue(t, "Vendor Root", nil, nil), nil)
	var files []string
	for name, content := range map[string]string{"app.exe": string(smallProgram()), "app.msi": string(installer), "app.cab": cabinet()} {
		file := textFile(t, name, content)
		vendor.foreignX509(t, Authenticode, file)
		files = append(files, file)
	}
	bin := t.TempDir() // an osslsigncode that tells its version and does nothing else
	tool := "#!/bin/sh\ncase $1 in --version) echo 'osslsigncode 2.5, using:' ;; *) exit 1 ;; esac\n"
	if err := os.WriteFile(filepath.Join(bin, "osslsigncode"), []byte(tool), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	verifier := &Verifier{Environ: os.Environ()}
	if version, err := osslsigncodeVersion(deadline(t), verifier.Environ); err != nil || version != (release{2, 5}) {
		t.Fatal(version, err)
	}
	for _, file := range files {
		found, err := verifier.existing(deadline(t), Authenticode, file, "")
		if err != nil || len(found) != 1 || !found[0].certificate.Equal(vendor.certificate) {
			t.Errorf("%s: %v, %v", file, found, err)
		}
	}
}

// TestScriptsAndCatalogsOfAnySizeAreNoUseOfMemory: what is longer than anybody's is refused before it is read.
func TestScriptsAndCatalogsOfAnySizeAreNoUseOfMemory(t *testing.T) {
	for _, name := range []string{"app.ps1", "app.cat"} {
		file := filepath.Join(t.TempDir(), name)
		if err := errors.Join(os.WriteFile(file, []byte("# text\r\n"), 0o600), os.Truncate(file, mostWhole+1)); err != nil {
			t.Fatal(err)
		}
		if _, err := embeddedSignatures(file); err == nil || !strings.Contains(err.Error(), "are not read") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
