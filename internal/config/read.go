package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

// readRegular reads a whole file of at most limit bytes. Pipes and devices are refused,
// which could keep the process waiting or never end.
func readRegular(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return data, nil
}

var errNoTokenFile = errors.New("it names no file that can be read")

// readTokenFile reads a token from a file, as Docker and Kubernetes hand secrets out. The
// line break that editors leave at the end does not belong to it. Errors do not show the name:
// where a CI system's variable is of the wrong type, the name is the token.
func readTokenFile(name string) (string, error) {
	data, err := readRegular(name, longestToken+2)
	if failed, ok := errors.AsType[*os.PathError](err); ok {
		return "", fmt.Errorf("%w: %w; a token itself goes into SIGNPATH_API_TOKEN", errNoTokenFile, failed.Err)
	}
	if err != nil {
		return "", errors.New("the file that it names is not a regular file, or is too large for a token")
	}
	token := strings.TrimRight(string(data), "\r\n")
	if token == "" {
		return "", errors.New("the file that it names is empty; write the token into it")
	}
	return token, nil
}
