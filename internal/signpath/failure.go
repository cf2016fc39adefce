package signpath

import (
	"context"
	"time"

	"signkit/internal/event"
)

// recorded records a signature, or a failure, where that is wanted. The error then says that it is recorded.
func (k *Key) recorded(ctx context.Context, digest []byte, began time.Time, signed *Signed, err error) error {
	if k.client.record == nil {
		return err
	}
	e := event.Begin(k.client.clean(k.ID(), 200), digest, began)
	e.Seconds = k.client.now().Sub(began).Seconds()
	e.Caller = event.CallerOf(k.client.asking(ctx))
	if signed != nil {
		e.Algorithm, e.RequestID, e.WebLink = signed.Algorithm, signed.RequestID, signed.WebLink
	}
	if err != nil {
		e.Fail(err)
	}
	k.client.record(e)
	return event.Told(err)
}
