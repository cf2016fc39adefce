/* Return values in the standard's order, and what ends an operation and what does not. */
#include "host.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	CK_SESSION_HANDLE session;
	CK_BYTE data[] = "hello", signature[1024];
	CK_ULONG length = sizeof signature, count;
	CK_MECHANISM how = mechanism();

	WANT(p11->C_CreateObject(0, NULL, 0, NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_GetInfo(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_Sign(0, NULL, 0, NULL, NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
	CK_C_INITIALIZE_ARGS reserved = {.pReserved = &session};
	WANT(p11->C_Initialize(&reserved), CKR_ARGUMENTS_BAD);
	CK_C_INITIALIZE_ARGS half = {.CreateMutex = (CK_CREATEMUTEX)abort};
	WANT(p11->C_Initialize(&half), CKR_ARGUMENTS_BAD);
	/* All four callbacks are accepted and never called. */
	CK_C_INITIALIZE_ARGS all = {(CK_CREATEMUTEX)abort, (CK_DESTROYMUTEX)abort, (CK_LOCKMUTEX)abort, (CK_UNLOCKMUTEX)abort, 3, NULL};
	OK(p11->C_Initialize(&all));
	WANT(p11->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
	WANT(p11->C_Finalize(&session), CKR_ARGUMENTS_BAD);

	WANT(p11->C_GetSlotList(1, NULL, NULL), CKR_ARGUMENTS_BAD);
	count = 12345;
	OK(p11->C_GetSlotList(0, NULL, &count));
	CHECK(count == 1);
	CK_SLOT_ID slots[1];
	count = 0;
	WANT(p11->C_GetSlotList(0, slots, &count), CKR_BUFFER_TOO_SMALL);
	CHECK(count == 1);
	OK(p11->C_GetSlotList(1, slots, &count));
	CHECK(slots[0] == SLOT);
	CK_TOKEN_INFO token;
	WANT(p11->C_GetTokenInfo(2, &token), 0x003UL /* CKR_SLOT_ID_INVALID */);
	OK(p11->C_GetTokenInfo(1, &token));
	CHECK(token.ulMaxPinLen >= 255 && (token.flags & 6) == 6 && memcmp(token.label, "SignKit ", 8) == 0);
	CK_MECHANISM_TYPE types[64];
	count = 1;
	WANT(p11->C_GetMechanismList(1, types, &count), CKR_BUFFER_TOO_SMALL);
	OK(p11->C_GetMechanismList(1, types, &count));
	CHECK(count == 14 && types[0] == 1);
	CK_SLOT_ID event;
	WANT(p11->C_WaitForSlotEvent(CKF_DONT_BLOCK, &event, NULL), CKR_NO_EVENT);
	WANT(p11->C_WaitForSlotEvent(0, &event, NULL), CKR_FUNCTION_NOT_SUPPORTED);

	WANT(p11->C_OpenSession(SLOT, 0, NULL, NULL, &session), 0x0B4UL /* CKR_SESSION_PARALLEL_NOT_SUPPORTED */);
	WANT(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION | 2, NULL, NULL, &session), CKR_TOKEN_WRITE_PROTECTED);
	session = open_session();
	WANT(p11->C_CreateObject(session + 1, NULL, 0, &event), CKR_SESSION_HANDLE_INVALID);
	WANT(p11->C_CreateObject(session, NULL, 0, NULL), CKR_ARGUMENTS_BAD);
	WANT(p11->C_CreateObject(session, NULL, 0, &event), CKR_TOKEN_WRITE_PROTECTED);
	WANT(p11->C_DigestInit(session, &how), CKR_FUNCTION_NOT_SUPPORTED);
	WANT(p11->C_SeedRandom(session, data, 5), CKR_RANDOM_SEED_NOT_SUPPORTED);
	OK(p11->C_GenerateRandom(session, data, 0));
	CK_BYTE random[100000];
	OK(p11->C_GenerateRandom(session, random, sizeof random));
	WANT(p11->C_GetFunctionStatus(session), CKR_FUNCTION_NOT_PARALLEL);
	WANT(p11->C_FindObjects(session, &event, 1, &count), CKR_OPERATION_NOT_INITIALIZED);
	WANT(p11->C_SignInit(session, &how, 1), 0x101UL /* CKR_USER_NOT_LOGGED_IN */);
	WANT(p11->C_Logout(session), 0x101UL);
	char cut[] = "01234567-89ab-cdef-0123-456789ab";
	WANT(p11->C_Login(session, CKU_USER, (CK_BYTE *)cut, 32), 0x0A2UL /* CKR_PIN_LEN_RANGE */);
	WANT(p11->C_Login(session, CKU_USER, NULL, 0), 0x0A2UL);
	WANT(p11->C_Login(session, CKU_USER, (CK_BYTE *)"1234", 4), 0x0A0UL /* CKR_PIN_INCORRECT */);
	WANT(p11->C_Login(session, 0, (CK_BYTE *)"1234", 4), 0x0B7UL /* CKR_SESSION_READ_ONLY_EXISTS */);
	log_in(session);
	WANT(p11->C_Login(session, CKU_USER, (CK_BYTE *)"CONFIG", 6), CKR_USER_ALREADY_LOGGED_IN);
	CK_OBJECT_HANDLE key = find_key(session);

	/* Attributes: every entry is processed, whatever is wrong with one. */
	CK_ULONG class = 0;
	CK_BYTE small[1], id[64];
	CK_ATTRIBUTE batch[] = {{CKA_CLASS, &class, sizeof class}, {0x12345, small, 1}, {CKA_ID, small, 1}, {CKA_ID, NULL, 0}, {CKA_ID, id, sizeof id}};
	CK_RV rv = p11->C_GetAttributeValue(session, key, batch, 5);
	CHECK(rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_BUFFER_TOO_SMALL);
	CHECK(class == CKO_PRIVATE_KEY && batch[1].ulValueLen == ~0UL && batch[2].ulValueLen == ~0UL);
	CHECK(batch[3].ulValueLen == strlen(key_name) && batch[4].ulValueLen == strlen(key_name) && memcmp(id, key_name, strlen(key_name)) == 0);
	CK_ATTRIBUTE secret = {0x123, NULL, 0};
	WANT(p11->C_GetAttributeValue(session, key, &secret, 1), 0x011UL /* CKR_ATTRIBUTE_SENSITIVE */);
	WANT(p11->C_GetAttributeValue(session, key + 999, &secret, 1), 0x082UL /* CKR_OBJECT_HANDLE_INVALID */);

	/* Sign operations. */
	WANT(p11->C_Sign(session, data, 5, signature, &length), CKR_OPERATION_NOT_INITIALIZED);
	WANT(p11->C_Sign(session + 1, data, 5, signature, &length), CKR_SESSION_HANDLE_INVALID);
	WANT(p11->C_SignInit(session, NULL, key), CKR_ARGUMENTS_BAD);
	CK_MECHANISM unknown = {0x9999, NULL, 0};
	WANT(p11->C_SignInit(session, &unknown, key), 0x070UL /* CKR_MECHANISM_INVALID */);
	CK_MECHANISM parameter = {how.mechanism, data, 5};
	WANT(p11->C_SignInit(session, &parameter, key), 0x071UL /* CKR_MECHANISM_PARAM_INVALID */);
	WANT(p11->C_SignInit(session, &how, key + 999), 0x060UL /* CKR_KEY_HANDLE_INVALID */);
	OK(p11->C_SignInit(session, &how, key));
	WANT(p11->C_SignInit(session, &how, key), CKR_OPERATION_ACTIVE);
	OK(p11->C_Sign(session, data, 5, NULL, &length));
	CHECK(length >= 64);
	CK_ULONG whole = length;
	length = 1;
	WANT(p11->C_Sign(session, data, 5, signature, &length), CKR_BUFFER_TOO_SMALL);
	CHECK(length == whole);
	OK(p11->C_Sign(session, data, 5, signature, &length));
	print_signature(signature, length);
	/* A length query without data, as libp11 0.4.11 makes it, ends the operation. */
	OK(p11->C_SignInit(session, &how, key));
	WANT(p11->C_Sign(session, NULL, 32, NULL, &length), CKR_ARGUMENTS_BAD);
	OK(try_sign(session, key, true));
	/* A mechanism that takes a digest has no parts. */
	CK_MECHANISM raw = {strstr(key_name, "rsa") ? 0x1UL : 0x1041UL, NULL, 0};
	OK(p11->C_SignInit(session, &raw, key));
	WANT(p11->C_SignUpdate(session, data, 5), CKR_FUNCTION_NOT_SUPPORTED);
	OK(try_sign(session, key, true));
	/* Closing a session ends its operation. */
	CK_SESSION_HANDLE second = open_session();
	OK(p11->C_SignInit(second, &how, key));
	OK(p11->C_SignUpdate(second, data, 5));
	OK(p11->C_CloseSession(second));
	WANT(p11->C_SignFinal(second, signature, &length), CKR_SESSION_HANDLE_INVALID);
	/* The end of the last session is the end of the login. */
	OK(p11->C_CloseAllSessions(SLOT));
	WANT(p11->C_CloseSession(session), CKR_SESSION_HANDLE_INVALID);
	session = open_session();
	CK_SESSION_INFO info;
	OK(p11->C_GetSessionInfo(session, &info));
	CHECK(info.state == 0 && info.slotID == SLOT && info.flags == CKF_SERIAL_SESSION);
	OK(p11->C_Finalize(NULL));

	/* Handles of an earlier start are invalid in the next one. */
	OK(p11->C_Initialize(NULL));
	WANT(p11->C_CloseSession(session), CKR_SESSION_HANDLE_INVALID);
	OK(p11->C_Finalize(NULL));
	return 0;
}
