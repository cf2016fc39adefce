package token

import (
	"errors"
	"fmt"

	"signkit/internal/config"
	"signkit/internal/key"
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

// kindValues are the return values of failures of a key: those that may pass → CKR_FUNCTION_FAILED, user
// errors → CKR_ARGUMENTS_BAD, other answers of the service → CKR_DEVICE_ERROR, anything else → CKR_GENERAL_ERROR.
var kindValues = map[key.Kind]Error{
	key.Refused:      ckrGeneralError,
	key.Forbidden:    ckrArgumentsBad,
	key.NoSuchPolicy: ckrArgumentsBad,
	key.BadRequest:   ckrArgumentsBad,
	key.Unsupported:  ckrGeneralError,
	key.DigestLength: ckrDataLenRange,
	key.Throttled:    ckrFunctionFailed,
	key.Unavailable:  ckrFunctionFailed,
	key.Broken:       ckrDeviceError,
	key.Network:      ckrFunctionFailed,
	key.NoWay:        ckrGeneralError,
	key.Untrusted:    ckrGeneralError,
	key.BadAnswer:    ckrDeviceError,
	key.Settings:     ckrGeneralError,
	key.Elsewhere:    ckrDeviceError,
	key.Canceled:     ckrFunctionCanceled,
	key.Other:        ckrGeneralError,
}

// keyFailure gives an error of a key, or of where keys come from, its return value.
func keyFailure(err error) error { return &failure{key.Lookup(kindValues, key.KindOf(err)), err} }

// pinFailure tells a PIN that the tool shortened from a wrong one.
func pinFailure(err error) error {
	var pin *config.PINError
	if errors.As(err, &pin) && pin.Reason != config.Form {
		return &failure{ckrPINLenRange, err}
	}
	return &failure{ckrPINIncorrect, err}
}
