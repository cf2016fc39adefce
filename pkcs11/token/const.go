package token

// Return values (PKCS #11 v2.40, section 5.1).
const (
	ckrOK                         Error = 0x000
	ckrHostMemory                 Error = 0x002
	ckrSlotIDInvalid              Error = 0x003
	ckrGeneralError               Error = 0x005
	ckrFunctionFailed             Error = 0x006
	ckrArgumentsBad               Error = 0x007
	ckrAttributeSensitive         Error = 0x011
	ckrAttributeTypeInvalid       Error = 0x012
	ckrDataInvalid                Error = 0x020
	ckrDataLenRange               Error = 0x021
	ckrDeviceError                Error = 0x030
	ckrFunctionCanceled           Error = 0x050
	ckrFunctionNotSupported       Error = 0x054
	ckrKeyHandleInvalid           Error = 0x060
	ckrKeyTypeInconsistent        Error = 0x063
	ckrKeyFunctionNotPermitted    Error = 0x068
	ckrMechanismInvalid           Error = 0x070
	ckrMechanismParamInvalid      Error = 0x071
	ckrObjectHandleInvalid        Error = 0x082
	ckrOperationActive            Error = 0x090
	ckrOperationNotInitialized    Error = 0x091
	ckrPINIncorrect               Error = 0x0A0
	ckrPINLenRange                Error = 0x0A2
	ckrSessionClosed              Error = 0x0B0
	ckrSessionHandleInvalid       Error = 0x0B3
	ckrSessionParallelUnsupported Error = 0x0B4
	ckrSessionReadOnlyExists      Error = 0x0B7
	ckrTokenWriteProtected        Error = 0x0E2
	ckrUserAlreadyLoggedIn        Error = 0x100
	ckrUserNotLoggedIn            Error = 0x101
	ckrUserTypeInvalid            Error = 0x103
	ckrBufferTooSmall             Error = 0x150
)

// errorNames is no map: making one would take a part of every start.
var errorNames = []struct {
	rv   Error
	name string
}{
	{ckrOK, "CKR_OK"}, {ckrHostMemory, "CKR_HOST_MEMORY"}, {ckrSlotIDInvalid, "CKR_SLOT_ID_INVALID"},
	{ckrGeneralError, "CKR_GENERAL_ERROR"}, {ckrFunctionFailed, "CKR_FUNCTION_FAILED"}, {ckrArgumentsBad, "CKR_ARGUMENTS_BAD"},
	{ckrAttributeSensitive, "CKR_ATTRIBUTE_SENSITIVE"}, {ckrAttributeTypeInvalid, "CKR_ATTRIBUTE_TYPE_INVALID"},
	{ckrDataInvalid, "CKR_DATA_INVALID"}, {ckrDataLenRange, "CKR_DATA_LEN_RANGE"}, {ckrDeviceError, "CKR_DEVICE_ERROR"},
	{ckrFunctionCanceled, "CKR_FUNCTION_CANCELED"}, {ckrFunctionNotSupported, "CKR_FUNCTION_NOT_SUPPORTED"},
	{ckrKeyHandleInvalid, "CKR_KEY_HANDLE_INVALID"}, {ckrKeyTypeInconsistent, "CKR_KEY_TYPE_INCONSISTENT"},
	{ckrKeyFunctionNotPermitted, "CKR_KEY_FUNCTION_NOT_PERMITTED"}, {ckrMechanismInvalid, "CKR_MECHANISM_INVALID"},
	{ckrMechanismParamInvalid, "CKR_MECHANISM_PARAM_INVALID"}, {ckrObjectHandleInvalid, "CKR_OBJECT_HANDLE_INVALID"},
	{ckrOperationActive, "CKR_OPERATION_ACTIVE"}, {ckrOperationNotInitialized, "CKR_OPERATION_NOT_INITIALIZED"},
	{ckrPINIncorrect, "CKR_PIN_INCORRECT"}, {ckrPINLenRange, "CKR_PIN_LEN_RANGE"},
	{ckrSessionClosed, "CKR_SESSION_CLOSED"}, {ckrSessionHandleInvalid, "CKR_SESSION_HANDLE_INVALID"}, {ckrSessionParallelUnsupported, "CKR_SESSION_PARALLEL_NOT_SUPPORTED"},
	{ckrSessionReadOnlyExists, "CKR_SESSION_READ_ONLY_EXISTS"}, {ckrTokenWriteProtected, "CKR_TOKEN_WRITE_PROTECTED"},
	{ckrUserAlreadyLoggedIn, "CKR_USER_ALREADY_LOGGED_IN"}, {ckrUserNotLoggedIn, "CKR_USER_NOT_LOGGED_IN"},
	{ckrUserTypeInvalid, "CKR_USER_TYPE_INVALID"}, {ckrBufferTooSmall, "CKR_BUFFER_TOO_SMALL"},
}

// Object classes, key and certificate types (sections 4.2 and 4.6, mechanisms v2.40 section 2).
const (
	ckoCertificate = 1
	ckoPublicKey   = 2
	ckoPrivateKey  = 3
	ckkRSA         = 0
	ckkEC          = 3
	ckcX509        = 0
)

// Attributes (section 4).
const (
	ckaClass               = 0x000
	ckaToken               = 0x001
	ckaPrivate             = 0x002
	ckaLabel               = 0x003
	ckaValue               = 0x011
	ckaCertificateType     = 0x080
	ckaIssuer              = 0x081
	ckaSerialNumber        = 0x082
	ckaTrusted             = 0x086
	ckaCertificateCategory = 0x087
	ckaCheckValue          = 0x090
	ckaKeyType             = 0x100
	ckaSubject             = 0x101
	ckaID                  = 0x102
	ckaSensitive           = 0x103
	ckaEncrypt             = 0x104
	ckaDecrypt             = 0x105
	ckaWrap                = 0x106
	ckaUnwrap              = 0x107
	ckaSign                = 0x108
	ckaSignRecover         = 0x109
	ckaVerify              = 0x10A
	ckaVerifyRecover       = 0x10B
	ckaDerive              = 0x10C
	ckaStartDate           = 0x110
	ckaEndDate             = 0x111
	ckaModulus             = 0x120
	ckaModulusBits         = 0x121
	ckaPublicExponent      = 0x122
	ckaPrivateExponent     = 0x123
	ckaCoefficient         = 0x128
	ckaPublicKeyInfo       = 0x129
	ckaExtractable         = 0x162
	ckaLocal               = 0x163
	ckaNeverExtractable    = 0x164
	ckaAlwaysSensitive     = 0x165
	ckaModifiable          = 0x170
	ckaCopyable            = 0x171
	ckaDestroyable         = 0x172
	ckaECParams            = 0x180
	ckaECPoint             = 0x181
	ckaAlwaysAuthenticate  = 0x202
	ckaWrapWithTrusted     = 0x210
	ckaAllowedMechanisms   = 0x40000600
)

// Flags, states and user types (section 3).
const (
	ckfRNG                = 0x001
	ckfWriteProtected     = 0x002
	ckfLoginRequired      = 0x004
	ckfUserPINInitialized = 0x008
	ckfTokenInitialized   = 0x400
	ckfTokenPresent       = 0x001
	ckfHWSlot             = 0x004
	ckfRWSession          = 0x002
	ckfSerialSession      = 0x004

	ckfHW           = 0x00000001
	ckfSign         = 0x00000800
	ckfECFP         = 0x00100000
	ckfECNamedCurve = 0x00800000
	ckfECUncompress = 0x01000000

	cksROPublic = 0
	cksROUser   = 1
	cksRWPublic = 2
	cksRWUser   = 3

	ckuSO              = 0
	ckuUser            = 1
	ckuContextSpecific = 2
)

// Mechanisms and mask generation functions (mechanisms v2.40, sections 2.1 and 2.3).
const (
	ckmRSAPKCS          = 0x0001
	ckmSHA1RSAPKCS      = 0x0006
	ckmRSAPKCSPSS       = 0x000D
	ckmSHA256RSAPKCS    = 0x0040
	ckmSHA384RSAPKCS    = 0x0041
	ckmSHA512RSAPKCS    = 0x0042
	ckmSHA256RSAPKCSPSS = 0x0043
	ckmSHA384RSAPKCSPSS = 0x0044
	ckmSHA512RSAPKCSPSS = 0x0045
	ckmECDSA            = 0x1041
	ckmECDSASHA1        = 0x1042
	ckmECDSASHA256      = 0x1044
	ckmECDSASHA384      = 0x1045
	ckmECDSASHA512      = 0x1046
)
