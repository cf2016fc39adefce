package wire

import (
	"encoding/binary"
	"fmt"
)

// Reader takes a payload apart. It remembers its first error; after one,
// every method returns zero values.
type Reader struct {
	b   []byte
	err error
}

// NewReader returns a Reader of payload, which it does not copy.
func NewReader(payload []byte) *Reader { return &Reader{b: payload} }

// Uint64 takes one number.
func (r *Reader) Uint64() uint64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return binary.NativeEndian.Uint64(b)
}

// Bytes takes n bytes. The result points into the payload.
func (r *Reader) Bytes(n uint64) []byte {
	if r.err == nil && n > uint64(len(r.b)) {
		r.err = fmt.Errorf("%w: %d bytes wanted, %d left", ErrMalformed, n, len(r.b))
	}
	if r.err != nil {
		return nil
	}
	return r.take(int(n))
}

// Rest takes all that is left.
func (r *Reader) Rest() []byte { return r.take(len(r.b)) }

// Len is the number of bytes left.
func (r *Reader) Len() int { return len(r.b) }

// Done returns the first error, or an error if bytes are left.
func (r *Reader) Done() error {
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%w: %d bytes too many", ErrMalformed, len(r.b))
	}
	return r.err
}

func (r *Reader) take(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n > len(r.b) {
		r.err = fmt.Errorf("%w: %d bytes wanted, %d left", ErrMalformed, n, len(r.b))
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// Attribute is one entry of a search template.
type Attribute struct {
	Type  uint64
	Value []byte
}

// Attributes takes count entries {type, length, bytes}.
func (r *Reader) Attributes(count uint64) []Attribute {
	var list []Attribute
	for i := uint64(0); i < count && r.err == nil; i++ {
		typ, length := r.Uint64(), r.Uint64()
		value := r.Bytes(length)
		if r.err == nil {
			list = append(list, Attribute{typ, value})
		}
	}
	return list
}

// AppendUint64s appends numbers, as in a list of slots, types or objects.
func AppendUint64s(b []byte, numbers ...uint64) []byte {
	for _, n := range numbers {
		b = binary.NativeEndian.AppendUint64(b, n)
	}
	return b
}

// AppendValue appends an attribute's value: its length and bytes.
func AppendValue(b, value []byte) []byte {
	b = binary.NativeEndian.AppendUint64(b, uint64(len(value)))
	return append(b, value...)
}

// AppendUnavailable appends the mark of a value that cannot be had.
func AppendUnavailable(b []byte) []byte {
	return binary.NativeEndian.AppendUint64(b, unavailableLength)
}
