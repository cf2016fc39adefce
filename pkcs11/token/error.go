package token

import (
	"context"
	"errors"
	"fmt"

	"signkit/internal/config"
	"signkit/internal/signpath"
)

// Error is a return value (CK_RV) of the standard; its text is its name there.
type Error uint64

// Error is the name, for example "CKR_PIN_INCORRECT".
func (e Error) Error() string {
	for _, known := range errorNames {
		if known.rv == e {
			return known.name
		}
	}
	return fmt.Sprintf("CKR 0x%X", uint64(e))
}

// failure is an error that a person must see, with the return value that the tool sees.
type failure struct {
	rv    Error
	cause error
}

func (f *failure) Error() string { return f.cause.Error() }
func (f *failure) Unwrap() error { return f.cause }

func failf(rv Error, format string, args ...any) error {
	return &failure{rv, fmt.Errorf(format, args...)}
}

// returnValue is what the tool sees of an error.
func returnValue(err error) Error {
	var rv Error
	var f *failure
	switch {
	case err == nil:
		return ckrOK
	case errors.As(err, &f):
		return f.rv
	case errors.As(err, &rv):
		return rv
	}
	return ckrGeneralError
}

// serviceFailure gives an error of the service its return value: transient →
// CKR_FUNCTION_FAILED, user error → CKR_ARGUMENTS_BAD, other answers of the
// service → CKR_DEVICE_ERROR, anything else → CKR_GENERAL_ERROR.
func serviceFailure(err error) error {
	var service *signpath.Error
	rv := ckrGeneralError
	switch {
	case errors.Is(err, context.Canceled):
		rv = ckrFunctionCanceled
	case errors.Is(err, signpath.ErrWrongSignature):
		rv = ckrDeviceError
	case errors.Is(err, signpath.ErrDigestLength):
		rv = ckrDataLenRange
	case errors.As(err, &service):
		rv = statusValue(service)
	case errors.Is(err, signpath.ErrTimeout):
		rv = ckrFunctionFailed
	}
	return &failure{rv, err}
}

func statusValue(e *signpath.Error) Error {
	switch {
	case e.Transient:
		return ckrFunctionFailed
	case e.Status >= 400 && e.Status < 500:
		return ckrArgumentsBad
	case e.Status != 0:
		return ckrDeviceError
	}
	return ckrGeneralError
}

// pinFailure tells a PIN that the tool shortened from a wrong one.
func pinFailure(err error) error {
	var pin *config.PINError
	if errors.As(err, &pin) && pin.Reason != config.Form {
		return &failure{ckrPINLenRange, err}
	}
	return &failure{ckrPINIncorrect, err}
}
