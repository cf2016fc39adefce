/*
 * unsupported.c: the entries that a read-only signing token does not have.
 * Each still answers in the standard's order: not initialized, bad arguments,
 * unknown session (or slot), and only then why not.
 */
#include "lifecycle.h"
#include "rpc.h"

/* refusal is why not, unless the check has found something before that. */
static CK_RV refusal(CK_RV checked, CK_RV why)
{
	return checked == CKR_OK ? why : checked;
}

/* refuse_in_session answers for a function of a session; `valid` says whether its arguments are. */
static CK_RV refuse_in_session(CK_SESSION_HANDLE session, bool valid, CK_RV why)
{
	ENTRY(visit, refusal(valid ? rpc_check_session(&visit, session) : CKR_ARGUMENTS_BAD, why));
}

static CK_RV unsupported(CK_SESSION_HANDLE session, bool valid)
{
	return refuse_in_session(session, valid, CKR_FUNCTION_NOT_SUPPORTED);
}

static CK_RV write_protected(CK_SESSION_HANDLE session, bool valid)
{
	return refuse_in_session(session, valid, CKR_TOKEN_WRITE_PROTECTED);
}

static bool bytes(const void *data, CK_ULONG length)
{
	return data != NULL || length == 0;
}

static CK_RV check_slot(const struct visit *visit, CK_SLOT_ID slot)
{
	CK_SLOT_INFO info;
	return rpc_call_fixed(visit, WIRE_GET_SLOT_INFO, slot, 0, &info, sizeof info);
}

CK_RV C_InitToken(CK_SLOT_ID slot, CK_UTF8CHAR *pin, CK_ULONG pin_len, CK_UTF8CHAR *label)
{
	ENTRY(visit, refusal(bytes(pin, pin_len) && label != NULL ? check_slot(&visit, slot) : CKR_ARGUMENTS_BAD, CKR_TOKEN_WRITE_PROTECTED));
}

CK_RV C_InitPIN(CK_SESSION_HANDLE session, CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
	return write_protected(session, bytes(pin, pin_len));
}

CK_RV C_SetPIN(CK_SESSION_HANDLE session, CK_UTF8CHAR *old_pin, CK_ULONG old_len, CK_UTF8CHAR *new_pin, CK_ULONG new_len)
{
	return write_protected(session, bytes(old_pin, old_len) && bytes(new_pin, new_len));
}

CK_RV C_GetOperationState(CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG *state_len)
{
	(void)state;
	return unsupported(session, state_len != NULL);
}

CK_RV C_SetOperationState(CK_SESSION_HANDLE session, CK_BYTE *state, CK_ULONG state_len, CK_OBJECT_HANDLE encryption_key, CK_OBJECT_HANDLE authentication_key)
{
	(void)encryption_key;
	(void)authentication_key;
	return unsupported(session, bytes(state, state_len));
}

CK_RV C_CreateObject(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *object)
{
	return write_protected(session, bytes(template, count) && object != NULL);
}

CK_RV C_CopyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *copy)
{
	(void)object;
	return unsupported(session, bytes(template, count) && copy != NULL);
}

CK_RV C_DestroyObject(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object)
{
	(void)object;
	return write_protected(session, true);
}

CK_RV C_SetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
	(void)object;
	return write_protected(session, bytes(template, count));
}

#define UNSUPPORTED_INIT(name) \
	CK_RV name(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key) \
	{ \
		(void)key; \
		return unsupported(session, mechanism != NULL); \
	}

#define UNSUPPORTED_TRANSFORM(name) \
	CK_RV name(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len, CK_BYTE *out, CK_ULONG *out_len) \
	{ \
		(void)out; \
		return unsupported(session, bytes(in, in_len) && out_len != NULL); \
	}

#define UNSUPPORTED_LAST(name) \
	CK_RV name(CK_SESSION_HANDLE session, CK_BYTE *out, CK_ULONG *out_len) \
	{ \
		(void)out; \
		return unsupported(session, out_len != NULL); \
	}

#define UNSUPPORTED_UPDATE(name) \
	CK_RV name(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG in_len) \
	{ \
		return unsupported(session, bytes(in, in_len)); \
	}

UNSUPPORTED_INIT(C_EncryptInit)
UNSUPPORTED_TRANSFORM(C_Encrypt)
UNSUPPORTED_TRANSFORM(C_EncryptUpdate)
UNSUPPORTED_LAST(C_EncryptFinal)
UNSUPPORTED_INIT(C_DecryptInit)
UNSUPPORTED_TRANSFORM(C_Decrypt)
UNSUPPORTED_TRANSFORM(C_DecryptUpdate)
UNSUPPORTED_LAST(C_DecryptFinal)

CK_RV C_DigestInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism)
{
	return unsupported(session, mechanism != NULL);
}

UNSUPPORTED_TRANSFORM(C_Digest)
UNSUPPORTED_UPDATE(C_DigestUpdate)

CK_RV C_DigestKey(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key)
{
	(void)key;
	return unsupported(session, true);
}

UNSUPPORTED_LAST(C_DigestFinal)
UNSUPPORTED_INIT(C_SignRecoverInit)
UNSUPPORTED_TRANSFORM(C_SignRecover)
UNSUPPORTED_INIT(C_VerifyInit)

CK_RV C_Verify(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG signature_len)
{
	return unsupported(session, bytes(data, data_len) && bytes(signature, signature_len));
}

UNSUPPORTED_UPDATE(C_VerifyUpdate)
UNSUPPORTED_UPDATE(C_VerifyFinal)
UNSUPPORTED_INIT(C_VerifyRecoverInit)
UNSUPPORTED_TRANSFORM(C_VerifyRecover)
UNSUPPORTED_TRANSFORM(C_DigestEncryptUpdate)
UNSUPPORTED_TRANSFORM(C_DecryptDigestUpdate)
UNSUPPORTED_TRANSFORM(C_SignEncryptUpdate)
UNSUPPORTED_TRANSFORM(C_DecryptVerifyUpdate)

CK_RV C_GenerateKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	return write_protected(session, mechanism != NULL && bytes(template, count) && key != NULL);
}

CK_RV C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_ATTRIBUTE *public_template, CK_ULONG public_count, CK_ATTRIBUTE *private_template, CK_ULONG private_count, CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
	return write_protected(session, mechanism != NULL && bytes(public_template, public_count) && bytes(private_template, private_count) && public_key != NULL && private_key != NULL);
}

CK_RV C_WrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE wrapping_key, CK_OBJECT_HANDLE key, CK_BYTE *wrapped, CK_ULONG *wrapped_len)
{
	(void)wrapping_key;
	(void)key;
	(void)wrapped;
	return unsupported(session, mechanism != NULL && wrapped_len != NULL);
}

CK_RV C_UnwrapKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE unwrapping_key, CK_BYTE *wrapped, CK_ULONG wrapped_len, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	(void)unwrapping_key;
	return write_protected(session, mechanism != NULL && bytes(wrapped, wrapped_len) && bytes(template, count) && key != NULL);
}

CK_RV C_DeriveKey(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE base_key, CK_ATTRIBUTE *template, CK_ULONG count, CK_OBJECT_HANDLE *key)
{
	(void)base_key;
	return write_protected(session, mechanism != NULL && bytes(template, count) && key != NULL);
}

CK_RV C_SeedRandom(CK_SESSION_HANDLE session, CK_BYTE *seed, CK_ULONG seed_len)
{
	return refuse_in_session(session, bytes(seed, seed_len), CKR_RANDOM_SEED_NOT_SUPPORTED);
}

CK_RV C_GetFunctionStatus(CK_SESSION_HANDLE session)
{
	return refuse_in_session(session, true, CKR_FUNCTION_NOT_PARALLEL);
}

CK_RV C_CancelFunction(CK_SESSION_HANDLE session)
{
	return refuse_in_session(session, true, CKR_FUNCTION_NOT_PARALLEL);
}
