// Package mockapi is a local signing service for development and tests. It
// speaks the REST API that signkit's client speaks: signing policies, the three
// generations of the hash signing call, queued signing requests, certificates
// and GPG public keys, over TLS with a certificate authority of its own, plus an
// RFC 3161 time-stamp authority. Its keys are real keys and its signatures
// verify, but they lie in plain files: it protects nothing.
//
// It can be told to misbehave (SetFaults, PUT /_mock/faults) and tells what it
// was asked (Requests, GET /_mock/requests). Both are always on and need no
// token, so it must never be reachable by anyone who is not trusted.
//
// Its contract tests run unchanged against a real service:
//
//	go test ./internal/mockapi -run Contract -contract-url https://…/Api \
//	    -contract-token-file FILE -contract-organization UUID -contract-project SLUG
package mockapi
