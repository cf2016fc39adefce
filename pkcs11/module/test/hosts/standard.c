/*
 * Every function of the standard, called through the standard's own header and
 * not ours: what the list holds, what is written into each structure, and the
 * order in which each function says what is wrong: not initialized, bad
 * arguments, unknown session or slot, and only then its answer.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CK_PTR *
#define CK_DECLARE_FUNCTION(type, name) type name
#define CK_DECLARE_FUNCTION_POINTER(type, name) type(*name)
#define CK_CALLBACK_FUNCTION(type, name) type(*name)
#ifndef NULL_PTR
#define NULL_PTR 0
#endif
#include "pkcs11.h"

#define CHECK(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); exit(1); } } while (0)

static void want(const char *call, CK_RV rv, CK_RV wanted)
{
	if (rv == wanted)
		return;
	fprintf(stderr, "%s is 0x%lx, not 0x%lx\n", call, rv, wanted);
	exit(1);
}
#define WANT(call, wanted) want(#call, call, wanted)
#define OK(call) WANT(call, CKR_OK)

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slot;
static CK_SESSION_HANDLE session;
static CK_ULONG n, m;
static CK_BYTE data[64], out[1024], pin[] = "CONFIG";
static CK_OBJECT_HANDLE object, other;
static CK_ATTRIBUTE none[1];
static CK_MECHANISM how = {CKM_SHA256_RSA_PKCS, NULL, 0};
static CK_INFO info;
static CK_SLOT_INFO slot_info;
static CK_TOKEN_INFO token_info;
static CK_SESSION_INFO session_info;
static CK_MECHANISM_INFO mechanism_info;

/* X(function, good arguments, bad arguments, answer) for functions of a session: not logged in, nothing begun. */
#define OF_A_SESSION(X) \
	X(InitPIN, (session, data, 5), (session, NULL, 5), CKR_TOKEN_WRITE_PROTECTED) \
	X(SetPIN, (session, data, 5, data, 5), (session, data, 5, NULL, 5), CKR_TOKEN_WRITE_PROTECTED) \
	X(GetSessionInfo, (session, &session_info), (session, NULL), CKR_OK) \
	X(GetOperationState, (session, out, &n), (session, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(SetOperationState, (session, data, 5, 0, 0), (session, NULL, 5, 0, 0), CKR_FUNCTION_NOT_SUPPORTED) \
	X(CreateObject, (session, none, 0, &object), (session, NULL, 1, &object), CKR_TOKEN_WRITE_PROTECTED) \
	X(CopyObject, (session, 1, none, 0, &object), (session, 1, none, 0, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(GetObjectSize, (session, 1, &n), (session, 1, NULL), CKR_OBJECT_HANDLE_INVALID) \
	X(GetAttributeValue, (session, 1, none, 1), (session, 1, NULL, 1), CKR_OBJECT_HANDLE_INVALID) \
	X(SetAttributeValue, (session, 1, none, 1), (session, 1, NULL, 1), CKR_TOKEN_WRITE_PROTECTED) \
	X(FindObjects, (session, &object, 1, &n), (session, &object, 1, NULL), CKR_OPERATION_NOT_INITIALIZED) \
	X(FindObjectsInit, (session, none, 0), (session, NULL, 1), CKR_OK) \
	X(EncryptInit, (session, &how, 1), (session, NULL, 1), CKR_FUNCTION_NOT_SUPPORTED) \
	X(Encrypt, (session, data, 5, out, &n), (session, data, 5, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(EncryptUpdate, (session, data, 5, out, &n), (session, NULL, 5, out, &n), CKR_FUNCTION_NOT_SUPPORTED) \
	X(EncryptFinal, (session, out, &n), (session, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(DecryptInit, (session, &how, 1), (session, NULL, 1), CKR_FUNCTION_NOT_SUPPORTED) \
	X(Decrypt, (session, data, 5, out, &n), (session, data, 5, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(DecryptUpdate, (session, data, 5, out, &n), (session, NULL, 5, out, &n), CKR_FUNCTION_NOT_SUPPORTED) \
	X(DecryptFinal, (session, out, &n), (session, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(DigestInit, (session, &how), (session, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(Digest, (session, data, 5, out, &n), (session, data, 5, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(DigestUpdate, (session, data, 5), (session, NULL, 5), CKR_FUNCTION_NOT_SUPPORTED) \
	X(DigestFinal, (session, out, &n), (session, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(SignInit, (session, &how, 1), (session, NULL, 1), CKR_USER_NOT_LOGGED_IN) \
	X(Sign, (session, data, 5, out, &n), (session, data, 5, out, NULL), CKR_OPERATION_NOT_INITIALIZED) \
	X(SignUpdate, (session, data, 5), (session, NULL, 5), CKR_OPERATION_NOT_INITIALIZED) \
	X(SignFinal, (session, out, &n), (session, out, NULL), CKR_OPERATION_NOT_INITIALIZED) \
	X(SignRecoverInit, (session, &how, 1), (session, NULL, 1), CKR_FUNCTION_NOT_SUPPORTED) \
	X(SignRecover, (session, data, 5, out, &n), (session, data, 5, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(VerifyInit, (session, &how, 1), (session, NULL, 1), CKR_FUNCTION_NOT_SUPPORTED) \
	X(Verify, (session, data, 5, data, 5), (session, data, 5, NULL, 5), CKR_FUNCTION_NOT_SUPPORTED) \
	X(VerifyUpdate, (session, data, 5), (session, NULL, 5), CKR_FUNCTION_NOT_SUPPORTED) \
	X(VerifyFinal, (session, data, 5), (session, NULL, 5), CKR_FUNCTION_NOT_SUPPORTED) \
	X(VerifyRecoverInit, (session, &how, 1), (session, NULL, 1), CKR_FUNCTION_NOT_SUPPORTED) \
	X(VerifyRecover, (session, data, 5, out, &n), (session, data, 5, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(DigestEncryptUpdate, (session, data, 5, out, &n), (session, data, 5, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(DecryptDigestUpdate, (session, data, 5, out, &n), (session, data, 5, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(SignEncryptUpdate, (session, data, 5, out, &n), (session, data, 5, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(DecryptVerifyUpdate, (session, data, 5, out, &n), (session, data, 5, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(GenerateKey, (session, &how, none, 0, &object), (session, NULL, none, 0, &object), CKR_TOKEN_WRITE_PROTECTED) \
	X(GenerateKeyPair, (session, &how, none, 0, none, 0, &object, &other), (session, &how, none, 0, none, 0, NULL, &other), CKR_TOKEN_WRITE_PROTECTED) \
	X(WrapKey, (session, &how, 1, 2, out, &n), (session, &how, 1, 2, out, NULL), CKR_FUNCTION_NOT_SUPPORTED) \
	X(UnwrapKey, (session, &how, 1, data, 5, none, 0, &object), (session, &how, 1, NULL, 5, none, 0, &object), CKR_TOKEN_WRITE_PROTECTED) \
	X(DeriveKey, (session, &how, 1, none, 0, &object), (session, &how, 1, none, 0, NULL), CKR_TOKEN_WRITE_PROTECTED) \
	X(SeedRandom, (session, data, 5), (session, NULL, 5), CKR_RANDOM_SEED_NOT_SUPPORTED) \
	X(GenerateRandom, (session, out, 5), (session, NULL, 5), CKR_OK) \
	X(Login, (session, CKU_USER, pin, 6), (session, CKU_USER, NULL, 6), CKR_OK)

/* X(function, arguments, answer) for those with no argument but the session that could be bad. */
#define OF_A_SESSION_ALONE(X) \
	X(FindObjectsFinal, (session), CKR_OK) \
	X(DestroyObject, (session, 1), CKR_TOKEN_WRITE_PROTECTED) \
	X(DigestKey, (session, 1), CKR_FUNCTION_NOT_SUPPORTED) \
	X(GetFunctionStatus, (session), CKR_FUNCTION_NOT_PARALLEL) \
	X(CancelFunction, (session), CKR_FUNCTION_NOT_PARALLEL) \
	X(Logout, (session), CKR_OK) \
	X(CloseSession, (session), CKR_OK)

/* The same for functions of a slot. */
#define OF_A_SLOT(X) \
	X(GetSlotInfo, (slot, &slot_info), (slot, NULL), CKR_OK) \
	X(GetTokenInfo, (slot, &token_info), (slot, NULL), CKR_OK) \
	X(GetMechanismList, (slot, NULL, &n), (slot, NULL, NULL), CKR_OK) \
	X(GetMechanismInfo, (slot, CKM_ECDSA, &mechanism_info), (slot, CKM_ECDSA, NULL), CKR_OK) \
	X(InitToken, (slot, data, 5, data), (slot, data, 5, NULL), CKR_TOKEN_WRITE_PROTECTED) \
	X(OpenSession, (slot, CKF_SERIAL_SESSION, NULL, NULL, &session), (slot, CKF_SERIAL_SESSION, NULL, NULL, NULL), CKR_OK)

/* And for those of neither. */
#define OF_NOTHING(X) \
	X(GetInfo, (&info), (NULL), CKR_OK) \
	X(GetSlotList, (CK_TRUE, NULL, &m), (CK_TRUE, NULL, NULL), CKR_OK) \
	X(WaitForSlotEvent, (CKF_DONT_BLOCK, &slot, NULL), (CKF_DONT_BLOCK, NULL, NULL), CKR_NO_EVENT)

#define UNINITIALIZED(name, good, bad, answer) WANT(p11->C_##name bad, CKR_CRYPTOKI_NOT_INITIALIZED); WANT(p11->C_##name good, CKR_CRYPTOKI_NOT_INITIALIZED);
#define UNINITIALIZED_ALONE(name, good, answer) WANT(p11->C_##name good, CKR_CRYPTOKI_NOT_INITIALIZED);
#define BAD(name, good, bad, answer) WANT(p11->C_##name bad, CKR_ARGUMENTS_BAD);
#define NO_SESSION(name, good, bad, answer) WANT(p11->C_##name good, CKR_SESSION_HANDLE_INVALID);
#define NO_SESSION_ALONE(name, good, answer) WANT(p11->C_##name good, CKR_SESSION_HANDLE_INVALID);
#define NO_SLOT(name, good, bad, answer) WANT(p11->C_##name good, CKR_SLOT_ID_INVALID);
#define ANSWER(name, good, bad, answer) WANT(p11->C_##name good, answer);
#define ANSWER_ALONE(name, good, answer) WANT(p11->C_##name good, answer);

static void uninitialized(void)
{
	OF_NOTHING(UNINITIALIZED)
	OF_A_SLOT(UNINITIALIZED)
	OF_A_SESSION(UNINITIALIZED)
	OF_A_SESSION_ALONE(UNINITIALIZED_ALONE)
	WANT(p11->C_CloseAllSessions(slot), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_Finalize(data), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
}

static void wrong_handles(void)
{
	slot = 2;
	session = 12345;
	OF_NOTHING(BAD)
	OF_A_SLOT(BAD)
	OF_A_SLOT(NO_SLOT)
	OF_A_SESSION(BAD)
	OF_A_SESSION(NO_SESSION)
	OF_A_SESSION_ALONE(NO_SESSION_ALONE)
	WANT(p11->C_CloseAllSessions(slot), CKR_SLOT_ID_INVALID);
}

static void right_handles(void)
{
	slot = 1;
	OF_NOTHING(ANSWER)
	OF_A_SLOT(ANSWER)
	OF_A_SESSION(BAD)
	OF_A_SESSION(ANSWER)
	OF_A_SESSION_ALONE(ANSWER_ALONE)
	OK(p11->C_CloseAllSessions(slot));
}

/* Each function of the list is the one that is exported under its name. */
static void compare_list(void *library)
{
	unsigned count = 0;
	CHECK(p11->version.major == CRYPTOKI_VERSION_MAJOR && p11->version.minor == CRYPTOKI_VERSION_MINOR);
#undef CK_NEED_ARG_LIST
#undef CK_PKCS11_FUNCTION_INFO
#define CK_PKCS11_FUNCTION_INFO(name) CHECK(p11->name != NULL && (void *)p11->name == dlsym(library, #name)); count++;
#include "pkcs11f.h"
	CHECK(sizeof *p11 == sizeof(void *) * (count + 1));
	CHECK(dlsym(library, "C_GetInterface") == NULL && dlsym(library, "C_GetInterfaceList") == NULL);
}

/* filled reports whether a call wrote all of a structure and nothing behind it. */
#define FILLED(type, call) do { \
	struct { type it; CK_BYTE behind[64]; } a, b; \
	memset(&a, 0x5A, sizeof a); \
	memset(&b, 0xA5, sizeof b); \
	{ type *it = &a.it; OK(call); } \
	{ type *it = &b.it; OK(call); } \
	CHECK(memcmp(&a.it, &b.it, sizeof a.it) == 0); \
	for (size_t i = 0; i < sizeof a.behind; i++) \
		CHECK(a.behind[i] == 0x5A && b.behind[i] == 0xA5); \
} while (0)

static void structures(void)
{
	OK(p11->C_OpenSession(1, CKF_SERIAL_SESSION, NULL, NULL, &session));
	FILLED(CK_INFO, p11->C_GetInfo(it));
	FILLED(CK_SLOT_INFO, p11->C_GetSlotInfo(1, it));
	FILLED(CK_TOKEN_INFO, p11->C_GetTokenInfo(1, it));
	FILLED(CK_MECHANISM_INFO, p11->C_GetMechanismInfo(1, CKM_RSA_PKCS, it));
	FILLED(CK_SESSION_INFO, p11->C_GetSessionInfo(session, it));
	CHECK(info.cryptokiVersion.major == 2 && info.cryptokiVersion.minor == 40 && memcmp(info.manufacturerID, "signkit  ", 9) == 0);
	CHECK(slot_info.flags == (CKF_TOKEN_PRESENT | CKF_HW_SLOT));
	CHECK(memcmp(token_info.label, "SignKit  ", 9) == 0 && token_info.serialNumber[0] == '1' && token_info.ulMaxPinLen >= 255);
	CHECK(token_info.flags == (CKF_RNG | CKF_WRITE_PROTECTED | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED));
	CHECK(token_info.ulTotalPublicMemory == CK_UNAVAILABLE_INFORMATION && token_info.ulMaxSessionCount == CK_EFFECTIVELY_INFINITE);
	CHECK(mechanism_info.flags == (CKF_HW | CKF_SIGN | CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS) && mechanism_info.ulMaxKeySize == 521);
	CHECK(session_info.state == CKS_RO_PUBLIC_SESSION && session_info.slotID == 1 && session_info.flags == CKF_SERIAL_SESSION);
}

static void sign(char *name)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_BBOOL yes = CK_TRUE;
	CK_KEY_TYPE type;
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_TOKEN, &yes, sizeof yes}, {CKA_LABEL, name, strlen(name)}, {CKA_SIGN, &yes, sizeof yes}};
	CK_ATTRIBUTE read = {CKA_KEY_TYPE, &type, sizeof type};
	OK(p11->C_Login(session, CKU_USER, pin, 6));
	OK(p11->C_FindObjectsInit(session, template, 4));
	OK(p11->C_FindObjects(session, &object, 1, &n));
	OK(p11->C_FindObjectsFinal(session));
	CHECK(n == 1);
	OK(p11->C_GetAttributeValue(session, object, &read, 1));
	CHECK(type == CKK_EC || type == CKK_RSA);
	how.mechanism = type == CKK_EC ? CKM_ECDSA_SHA256 : CKM_SHA256_RSA_PKCS;
	CK_RSA_PKCS_PSS_PARAMS pss = {CKM_SHA256, CKG_MGF1_SHA256, 20};
	CK_MECHANISM salted = {CKM_RSA_PKCS_PSS, &pss, sizeof pss};
	WANT(p11->C_SignInit(session, &salted, object), CKR_MECHANISM_PARAM_INVALID);
	n = sizeof out;
	OK(p11->C_SignInit(session, &how, object));
	OK(p11->C_Sign(session, (CK_BYTE *)"hello", 5, out, &n));
	printf("signature ");
	for (CK_ULONG i = 0; i < n; i++)
		printf("%02x", out[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	CHECK(argc == 3);
	void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
	CHECK(library != NULL);
	CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
	CHECK(get != NULL);
	WANT(get(NULL), CKR_ARGUMENTS_BAD);
	OK(get(&p11));
	compare_list(library);
	slot = 1;
	uninitialized();
	OK(p11->C_Initialize(NULL));
	WANT(p11->C_Finalize(data), CKR_ARGUMENTS_BAD);
	wrong_handles();
	right_handles();
	structures();
	sign(argv[2]);
	OK(p11->C_Finalize(NULL));
	uninitialized();
	return 0;
}
