package integration

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
)

// windowsFiles writes one small unsigned file of each kind that osslsigncode signs: file.exe, file.msi, file.cab, file.ps1.
func (w *workplace) windowsFiles(name string) {
	w.Helper()
	w.write(name+".exe", string(programFile(w.Name())))
	w.copy(filepath.Join("testdata", "tiny.msi"), name+".msi") // an empty database, made by msibuild
	w.write(name+".cab", string(cabinet("hello.txt", []byte("hello "+w.Name()+"\n"))))
	w.write(name+".ps1", "Write-Output 'hello'\r\n")
}

// programFile is the least PE32+ file that tools take for one: headers and a section that holds text.
func programFile(text string) []byte {
	const headers, section, base = 0x200, 0x200, 0x1000
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	b.WriteString("MZ")
	b.Write(make([]byte, 0x3A))
	put(uint32(0x40)) // where the PE header is
	b.WriteString("PE\x00\x00")
	put(uint16(0x8664), uint16(1), uint32(0), uint32(0), uint32(0), uint16(240), uint16(0x22))
	put(uint16(0x20B), uint8(14), uint8(0), uint32(section), uint32(0), uint32(0), uint32(base), uint32(base))
	put(uint64(0x140000000), uint32(base), uint32(section), uint16(6), uint16(0), uint16(0), uint16(0), uint16(6), uint16(0), uint32(0))
	put(uint32(2*base), uint32(headers), uint32(0), uint16(3), uint16(0x8160))
	put(uint64(1<<20), uint64(base), uint64(1<<20), uint64(base), uint32(0), uint32(16))
	b.Write(make([]byte, 16*8)) // data directories; the fifth will tell where the signature is
	b.WriteString(".text\x00\x00\x00")
	put(uint32(section), uint32(base), uint32(section), uint32(headers), uint32(0), uint32(0), uint16(0), uint16(0), uint32(0x60000020))
	b.Write(make([]byte, headers-b.Len()))
	b.WriteString(text)
	b.Write(make([]byte, headers+section-b.Len()))
	return b.Bytes()
}

// cabinet is a cabinet file with one uncompressed file.
func cabinet(name string, content []byte) []byte {
	const headers, folder = 36, 8
	files := headers + folder
	data := files + 16 + len(name) + 1
	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			_ = binary.Write(&b, binary.LittleEndian, v)
		}
	}
	b.WriteString("MSCF")
	put(uint32(0), uint32(data+8+len(content)), uint32(0), uint32(files), uint32(0), uint8(3), uint8(1))
	put(uint16(1), uint16(1), uint16(0), uint16(0), uint16(0))                                             // one folder, one file
	put(uint32(data), uint16(1), uint16(0))                                                                // the folder: one block, stored
	put(uint32(len(content)), uint32(0), uint16(0), uint16(0x5821), uint16(0), uint16(0x20), []byte(name)) // the file
	put(uint8(0), uint32(0), uint16(len(content)), uint16(len(content)), content)                          // its block, without a sum
	return b.Bytes()
}

// sameAs checks that a file still is what another one is.
func (w *workplace) sameAs(name, original string) {
	w.Helper()
	got, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(w.dir, original))
	if err != nil {
		w.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		w.Errorf("%s was changed", name)
	}
}
