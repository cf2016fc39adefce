package card

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"signkit/gpgagent/assuan"
	"signkit/internal/key"
)

func TestCodes(t *testing.T) {
	kind := func(kind key.Kind) error { return fmt.Errorf("signing: %w", key.NewError(kind, "x")) }
	for what, test := range map[string]struct {
		err  error
		want assuan.Code
	}{
		"down":                   {kind(key.Unavailable), assuan.ServerFailed},
		"broken":                 {kind(key.Broken), assuan.ServerFailed},
		"overloaded":             {kind(key.Throttled), assuan.TryLater},
		"token unknown":          {kind(key.BadToken), assuan.BadAuth},
		"may not":                {kind(key.Forbidden), assuan.Forbidden},
		"no such organization":   {kind(key.NoSuchAddress), assuan.Configuration},
		"no such policy":         {kind(key.NoSuchPolicy), assuan.NoSecretKey},
		"approval needed":        {kind(key.NeedsApproval), assuan.Forbidden},
		"rejected otherwise":     {kind(key.BadRequest), assuan.ServerFailed},
		"redirect":               {kind(key.Elsewhere), assuan.ServerFailed},
		"refused":                {kind(key.NotListening), assuan.ConnectionRefused},
		"unreachable":            {kind(key.Unreachable), assuan.Unreachable},
		"reset":                  {kind(key.Network), assuan.Network},
		"no way":                 {kind(key.NoWay), assuan.Network},
		"no such host":           {kind(key.UnknownHost), assuan.UnknownHost},
		"attempt timed out":      {kind(key.NoAnswer), assuan.Timeout},
		"queued for too long":    {kind(key.NotDone), assuan.Timeout},
		"unknown root":           {kind(key.Untrusted), assuan.Configuration},
		"client certificate":     {kind(key.ClientUntrusted), assuan.Network},
		"own deadline":           {context.DeadlineExceeded, assuan.Timeout},
		"client left":            {fmt.Errorf("x: %w", context.Canceled), assuan.Canceled},
		"denied":                 {kind(key.Refused), assuan.NotConfirmed},
		"canceled by a person":   {kind(key.Withdrawn), assuan.Canceled},
		"wrong signature":        {kind(key.BadAnswer), assuan.BadSignature},
		"unusable answer":        {kind(key.UnusableAnswer), assuan.ServerFailed},
		"hash not supported":     {kind(key.Unsupported), assuan.DigestAlgorithm},
		"digest of wrong length": {kind(key.DigestLength), assuan.InvalidData},
		"known by itself":        {fmt.Errorf("x: %w", assuan.Errorf(assuan.WrongKeyUsage, "y")), assuan.WrongKeyUsage},
		"anything else":          {errors.New("x"), assuan.General},
	} {
		if got := codeOf(test.err); got != test.want {
			t.Errorf("%s: %d %s, want %d %s", what, got, got, test.want, test.want)
		}
	}
}
