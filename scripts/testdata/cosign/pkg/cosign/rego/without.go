package rego

import "errors"

func ValidateJSON([]byte, []string) []error {
	return []error{errors.New("this cosign is built without Rego")}
}
