package cue

import "errors"

func ValidateJSON([]byte, []string) error { return errors.New("this cosign is built without CUE") }
