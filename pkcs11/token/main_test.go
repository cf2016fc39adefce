package token

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain fails if anything of a token is still running when the tests are over.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
