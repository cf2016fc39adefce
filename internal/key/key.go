// Package key is what all doors to a private key say about it: the names of its hashes, the
// forms of its signatures, its name, the seam behind which it signs, and why it does not.
// It knows no service, no module and no tool, and imports nothing of ours.
package key
