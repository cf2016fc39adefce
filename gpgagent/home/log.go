package home

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// logTail is how much of the end of a log file is searched.
const logTail = 256 << 10

// LastErrors returns the bridge's last records of the levels error and fatal, oldest first. They
// are in the GNUPGHOME, or in the folder that the settings name for log files.
func (h *Home) LastErrors(folder string, count int) ([]string, error) {
	var records []string
	for _, dir := range []string{h.Dir, folder} {
		if dir == "" {
			continue
		}
		files, err := logFiles(dir)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			found, err := errorRecords(file)
			if err != nil {
				return nil, fmt.Errorf("reading the bridge's log: %w", err)
			}
			records = append(records, found...)
		}
	}
	// Each begins with its time. With a folder set, the bridge writes each into both files.
	slices.Sort(records)
	records = slices.Compact(records)
	return records[max(0, len(records)-count):], nil
}

func logFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the bridge's log: %w", err)
	}
	var files []string
	for _, e := range entries {
		ours := strings.HasPrefix(e.Name(), "SignPath.CryptoProviders.") && strings.HasSuffix(e.Name(), ".txt")
		if e.Type().IsRegular() && (ours || e.Name() == "gnupg-pkcs11-scd.log") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

// errorRecords searches the end of a file: "2024-05-01T12:00:00.123Z error 4711 message".
func errorRecords(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > logTail {
		if _, err := f.Seek(-logTail, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	record := regexp.MustCompile(`^[0-9-]{10}T[0-9:.]+Z (error|fatal) `)
	var found []string
	for line := range bytes.Lines(data) {
		if record.Match(line) {
			found = append(found, strings.TrimRight(string(line), "\r\n"))
		}
	}
	return found, nil
}
