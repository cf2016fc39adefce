package home

import (
	"slices"

	"signkit/internal/event"
)

// EventsFile is where the bridge records signatures and failures in a GNUPGHOME.
const EventsFile = "signkit-events.jsonl"

// eventsTail is how much of the end of the file is read.
const eventsTail = 256 << 10

// LastErrors returns the bridge's last failures, oldest first.
func (h *Home) LastErrors(count int) ([]event.Event, error) {
	var list []event.Event
	for _, name := range []string{EventsFile + ".1", EventsFile} {
		events, err := event.Last(h.file(name), eventsTail)
		if err != nil {
			return nil, err
		}
		list = append(list, events...)
	}
	list = slices.DeleteFunc(list, func(e event.Event) bool { return !e.Failed() })
	return list[max(0, len(list)-count):], nil
}
