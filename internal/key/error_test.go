package key

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestKindOf(t *testing.T) {
	wrapped := func(err error) error { return fmt.Errorf("signing: %w", err) }
	for _, c := range []struct {
		err  error
		want Kind
	}{
		{errors.New("x"), Other},
		{wrapped(NewError(Throttled, "x")), Throttled},
		{wrapped(&Error{Kind: Network, Err: NewError(NoAnswer, "the inner one")}), Network},
		{wrapped(&Error{Kind: Network, Err: context.Canceled}), Canceled},
		{wrapped(context.DeadlineExceeded), NotDone},
	} {
		if got := KindOf(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

func TestATableNamesGeneralKindsAndTheCasesThatDiffer(t *testing.T) {
	table := map[Kind]int{Forbidden: 1, BadToken: 2}
	for kind, want := range map[Kind]int{Forbidden: 1, BadToken: 2, Forbidden + "/else": 1, Other: 0} {
		if got := Lookup(table, kind); got != want {
			t.Errorf("%s: %d, want %d", kind, got, want)
		}
	}
}

func TestTransient(t *testing.T) {
	for kind, want := range map[Kind]bool{
		Throttled: true, Unavailable: true, NotDone: true, Network: true, NoAnswer: true, Unreachable: true,
		Broken: false, NoWay: false, Untrusted: false, BadAnswer: false, Forbidden: false, Settings: false, Other: false,
	} {
		if kind.Transient() != want {
			t.Errorf("%s: %v", kind, !want)
		}
	}
}

func TestParseID(t *testing.T) {
	if id, err := ParseID("demo/rsa"); err != nil || id != (ID{"demo", "rsa"}) || id.String() != "demo/rsa" {
		t.Errorf("%v, %v", id, err)
	}
	for _, wrong := range []string{"", "demo", "/", "demo/", "/rsa", "demo/rsa/", "a/b/c"} {
		if id, err := ParseID(wrong); err == nil {
			t.Errorf("%q: %v", wrong, id)
		}
	}
}
