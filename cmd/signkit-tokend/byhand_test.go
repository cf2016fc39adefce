package main

import "testing"

func TestCalledByHand(t *testing.T) {
	for argument, want := range map[string]int{"--version": 0, "--help": 0, "--no-such-flag": 2, "-version": 2, "serve": 2} {
		if got := byHand([]string{argument}); got != want {
			t.Errorf("%s ends with %d, want %d", argument, got, want)
		}
	}
}
