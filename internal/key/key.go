// Package key is what all doors to a private key say about it: the names of its hashes, the
// forms of its signatures, which keys are fit for use, and the seam behind which it signs.
// It knows no service, no module and no tool.
package key
