/*
 * entry.c: the entry points that a signing token answers, in the order of the
 * standard's chapters (PKCS #11 v2.40, section 5). Each checks pointers and
 * lengths, carries the call to the token process and applies the rule for
 * buffers of unknown length (section 5.2). What a call means is decided there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connect.h"
#include "lifecycle.h"
#include "pool.h"
#include "rpc.h"

static const struct span nothing;

/* General purpose functions (section 5.4). */

static bool arguments_valid(const CK_C_INITIALIZE_ARGS *args)
{
	if (args == NULL)
		return true;
	int callbacks = (args->CreateMutex != NULL) + (args->DestroyMutex != NULL) + (args->LockMutex != NULL) + (args->UnlockMutex != NULL);
	return args->pReserved == NULL && (callbacks == 0 || callbacks == 4);
}

CK_RV C_Initialize(void *args)
{
	if (!arguments_valid(args))
		return CKR_ARGUMENTS_BAD;
	return lifecycle_start();
}

CK_RV C_Finalize(void *reserved)
{
	struct visit visit;
	if (reserved == NULL)
		return lifecycle_stop();
	CK_RV rv = visit_begin(&visit);
	if (rv == CKR_OK)
		visit_end(&visit);
	return rv == CKR_CRYPTOKI_NOT_INITIALIZED ? rv : CKR_ARGUMENTS_BAD;
}

static void pad(CK_UTF8CHAR *field, size_t size, const char *text)
{
	size_t length = strlen(text);
	memset(field, ' ', size);
	memcpy(field, text, length < size ? length : size);
}

static CK_RV fill_info(CK_INFO *info)
{
	if (info == NULL)
		return CKR_ARGUMENTS_BAD;
	unsigned major = 0, minor = 0;
	if (sscanf(SIGNKIT_VERSION, "%3u.%3u", &major, &minor) != 2)
		major = minor = 0;
	*info = (CK_INFO){.cryptokiVersion = {2, 40}, .libraryVersion = {(CK_BYTE)major, (CK_BYTE)minor}};
	pad(info->manufacturerID, sizeof info->manufacturerID, "signkit");
	pad(info->libraryDescription, sizeof info->libraryDescription, "signkit remote signing");
	return CKR_OK;
}

CK_RV C_GetInfo(CK_INFO *info)
{
	ENTRY(visit, fill_info(info));
}

static CK_FUNCTION_LIST function_list = {
	.version = {2, 40},
#define CK_ENTRY(name, arguments) .name = name,
	CK_FUNCTIONS(CK_ENTRY)
#undef CK_ENTRY
};

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	if (list == NULL)
		return CKR_ARGUMENTS_BAD;
	*list = &function_list;
	return CKR_OK;
}

/* Slot and token management functions (section 5.5). */

/* answer_list copies a list of numbers, or its length where there is no list to fill. */
static CK_RV answer_list(const struct reply *reply, CK_ULONG *list, CK_ULONG *count)
{
	if (reply->length % sizeof(CK_ULONG) != 0)
		return CKR_DEVICE_ERROR;
	CK_ULONG have = reply->length / sizeof(CK_ULONG), room = *count;
	*count = have;
	if (list == NULL)
		return CKR_OK;
	if (room < have)
		return CKR_BUFFER_TOO_SMALL;
	if (have > 0)
		memcpy(list, reply->payload, reply->length);
	return CKR_OK;
}

static CK_RV ask_list(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, CK_ULONG *list, CK_ULONG *count)
{
	if (count == NULL)
		return CKR_ARGUMENTS_BAD;
	struct reply reply;
	CK_RV rv = rpc_call(visit, call, handle, number, nothing, &reply);
	if (rv == CKR_OK)
		rv = answer_list(&reply, list, count);
	reply_free(&reply);
	return rv;
}

static CK_RV get_list(uint32_t call, uint64_t handle, uint64_t number, CK_ULONG *list, CK_ULONG *count)
{
	ENTRY(visit, ask_list(&visit, call, handle, number, list, count));
}

/* get_fixed fills a structure that the token process sends as it is in memory. */
static CK_RV get_fixed(uint32_t call, uint64_t handle, uint64_t number, void *out, size_t size)
{
	ENTRY(visit, out == NULL ? CKR_ARGUMENTS_BAD : rpc_call_fixed(&visit, call, handle, number, out, size));
}

/* simple is a call that carries numbers and returns nothing but its result. */
static CK_RV simple(uint32_t call, uint64_t handle, uint64_t number)
{
	ENTRY(visit, rpc_call_empty(&visit, call, handle, number, nothing));
}

static CK_RV ask_value(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, CK_ULONG *out)
{
	if (out == NULL)
		return CKR_ARGUMENTS_BAD;
	struct reply reply;
	CK_RV rv = rpc_call(visit, call, handle, number, nothing, &reply);
	if (rv == CKR_OK)
		*out = (CK_ULONG)reply.value;
	reply_free(&reply);
	return rv;
}

/* get_value is a call that returns one number. */
static CK_RV get_value(uint32_t call, uint64_t handle, uint64_t number, CK_ULONG *out)
{
	ENTRY(visit, ask_value(&visit, call, handle, number, out));
}

CK_RV C_GetSlotList(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count)
{
	return get_list(WIRE_GET_SLOT_LIST, 0, present, list, count);
}

CK_RV C_GetSlotInfo(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
	return get_fixed(WIRE_GET_SLOT_INFO, slot, 0, info, sizeof *info);
}

CK_RV C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	return get_fixed(WIRE_GET_TOKEN_INFO, slot, 0, info, sizeof *info);
}

static CK_RV wait_for_event(CK_FLAGS flags, const CK_SLOT_ID *slot, const void *reserved)
{
	if (slot == NULL || reserved != NULL)
		return CKR_ARGUMENTS_BAD;
	return flags & CKF_DONT_BLOCK ? CKR_NO_EVENT : CKR_FUNCTION_NOT_SUPPORTED;
}

CK_RV C_WaitForSlotEvent(CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved)
{
	ENTRY(visit, wait_for_event(flags, slot, reserved));
}

CK_RV C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *count)
{
	return get_list(WIRE_GET_MECHANISM_LIST, slot, 0, list, count);
}

CK_RV C_GetMechanismInfo(CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info)
{
	return get_fixed(WIRE_GET_MECHANISM_INFO, slot, type, info, sizeof *info);
}

/* Session management functions (section 5.6). Application and notify are of no use to a token that never calls back. */

CK_RV C_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
	(void)application;
	(void)notify;
	return get_value(WIRE_OPEN_SESSION, slot, flags, session);
}

static CK_RV end_sessions(const struct visit *visit, uint32_t call, uint64_t handle, CK_SESSION_HANDLE forgotten)
{
	CK_RV rv = rpc_call_empty(visit, call, handle, 0, nothing);
	if (rv == CKR_OK)
		socket_end_operations(visit, forgotten);
	return rv;
}

/* close_sessions is a call that ends sign operations: those of one session, or all (0). */
static CK_RV close_sessions(uint32_t call, uint64_t handle, CK_SESSION_HANDLE forgotten)
{
	ENTRY(visit, end_sessions(&visit, call, handle, forgotten));
}

CK_RV C_CloseSession(CK_SESSION_HANDLE session)
{
	return close_sessions(WIRE_CLOSE_SESSION, session, session);
}

CK_RV C_CloseAllSessions(CK_SLOT_ID slot)
{
	return close_sessions(WIRE_CLOSE_ALL_SESSIONS, slot, 0);
}

CK_RV C_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	return get_fixed(WIRE_GET_SESSION_INFO, session, 0, info, sizeof *info);
}

CK_RV C_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
	ENTRY(visit, pin == NULL && pin_len != 0 ? CKR_ARGUMENTS_BAD : rpc_call_empty(&visit, WIRE_LOGIN, session, user, (struct span){pin, pin_len}));
}

CK_RV C_Logout(CK_SESSION_HANDLE session)
{
	return close_sessions(WIRE_LOGOUT, session, 0); /* it ends every operation, as the end of all sessions does */
}

/* Object management functions (section 5.7). */

CK_RV C_GetObjectSize(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ULONG *size)
{
	return get_value(WIRE_GET_OBJECT_SIZE, session, object, size);
}

/* A cursor over a payload that the token process wrote: nothing is read past its end. */
struct cursor {
	const unsigned char *at;
	size_t left;
};

static bool take_number(struct cursor *cursor, uint64_t *out)
{
	if (cursor->left < sizeof *out)
		return false;
	memcpy(out, cursor->at, sizeof *out);
	cursor->at += sizeof *out;
	cursor->left -= sizeof *out;
	return true;
}

static bool take_bytes(struct cursor *cursor, uint64_t length, const unsigned char **out)
{
	if (length > cursor->left)
		return false;
	*out = cursor->at;
	cursor->at += length;
	cursor->left -= (size_t)length;
	return true;
}

/* answer_attribute applies the five cases of C_GetAttributeValue (section 5.7) to one entry. */
static CK_RV answer_attribute(struct cursor *cursor, CK_ATTRIBUTE *attribute)
{
	uint64_t length;
	const unsigned char *value;
	if (!take_number(cursor, &length))
		return CKR_DEVICE_ERROR;
	if (length == UINT64_MAX) {
		attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return CKR_OK; /* the token process said in its result why */
	}
	if (!take_bytes(cursor, length, &value))
		return CKR_DEVICE_ERROR;
	if (attribute->pValue != NULL && attribute->ulValueLen < length) {
		attribute->ulValueLen = CK_UNAVAILABLE_INFORMATION;
		return CKR_BUFFER_TOO_SMALL;
	}
	if (attribute->pValue != NULL && length > 0)
		memcpy(attribute->pValue, value, (size_t)length);
	attribute->ulValueLen = (CK_ULONG)length;
	return CKR_OK;
}

static CK_RV answer_attributes(const struct reply *reply, CK_ATTRIBUTE *template, CK_ULONG count, CK_RV result)
{
	struct cursor cursor = {reply->payload, reply->length};
	for (CK_ULONG i = 0; i < count; i++) {
		CK_RV rv = answer_attribute(&cursor, &template[i]);
		if (rv == CKR_DEVICE_ERROR)
			return rv;
		if (rv != CKR_OK && result == CKR_OK)
			result = rv;
	}
	return result;
}

#define CKR_ATTRIBUTE_SENSITIVE 0x011UL
#define ATTRIBUTES_MAX 4096

static CK_RV get_attributes(const struct visit *visit, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
	if ((template == NULL && count != 0) || count > ATTRIBUTES_MAX)
		return CKR_ARGUMENTS_BAD;
	uint64_t *types = calloc(count + 1, sizeof *types);
	if (types == NULL)
		return CKR_HOST_MEMORY;
	for (CK_ULONG i = 0; i < count; i++)
		types[i] = template[i].type;
	struct reply reply;
	CK_RV rv = rpc_call(visit, WIRE_GET_ATTRIBUTES, session, object, (struct span){types, count * sizeof *types}, &reply);
	free(types);
	if (rv == CKR_OK || ((rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE) && reply.length > 0))
		rv = answer_attributes(&reply, template, count, rv);
	reply_free(&reply);
	return rv;
}

CK_RV C_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
	ENTRY(visit, get_attributes(&visit, session, object, template, count));
}

static unsigned char *put(unsigned char *at, const void *data, size_t length)
{
	if (length > 0)
		memcpy(at, data, length);
	return at + length;
}

/* template_size adds up what a template takes on the wire; 0 means that it is not usable. */
static size_t template_size(const CK_ATTRIBUTE *template, CK_ULONG count, CK_RV *rv)
{
	size_t size = sizeof(uint64_t);
	*rv = CKR_ARGUMENTS_BAD;
	if ((template == NULL && count != 0) || count > ATTRIBUTES_MAX)
		return 0;
	*rv = CKR_ATTRIBUTE_VALUE_INVALID;
	for (CK_ULONG i = 0; i < count; i++) {
		if (template[i].pValue == NULL && template[i].ulValueLen != 0)
			return 0;
		if (template[i].ulValueLen > WIRE_MAX_PAYLOAD - size - 2 * sizeof(uint64_t))
			return 0;
		size += 2 * sizeof(uint64_t) + template[i].ulValueLen;
		if (size > WIRE_MAX_PAYLOAD / 2)
			return 0;
	}
	*rv = CKR_OK;
	return size;
}

static CK_RV find_objects_init(const struct visit *visit, CK_SESSION_HANDLE session, const CK_ATTRIBUTE *template, CK_ULONG count)
{
	CK_RV rv;
	size_t size = template_size(template, count, &rv);
	if (size == 0)
		return rv;
	unsigned char *payload = malloc(size), *at = payload;
	if (payload == NULL)
		return CKR_HOST_MEMORY;
	for (CK_ULONG i = 0; i < count; i++) {
		uint64_t head[2] = {template[i].type, template[i].ulValueLen};
		at = put(at, head, sizeof head);
		at = put(at, template[i].pValue, template[i].ulValueLen);
	}
	rv = rpc_call_empty(visit, WIRE_FIND_INIT, session, count, (struct span){payload, (size_t)(at - payload)});
	free(payload);
	return rv;
}

CK_RV C_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
	ENTRY(visit, find_objects_init(&visit, session, template, count));
}

static CK_RV find_objects(const struct visit *visit, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count)
{
	if (count == NULL || (objects == NULL && max != 0))
		return CKR_ARGUMENTS_BAD;
	struct reply reply;
	CK_RV rv = rpc_call(visit, WIRE_FIND, session, max, nothing, &reply);
	if (rv == CKR_OK) {
		CK_ULONG room = max;
		rv = answer_list(&reply, objects, &room);
		if (rv == CKR_OK)
			*count = room;
	}
	reply_free(&reply);
	return rv;
}

CK_RV C_FindObjects(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *objects, CK_ULONG max, CK_ULONG *count)
{
	ENTRY(visit, find_objects(&visit, session, objects, max, count));
}

CK_RV C_FindObjectsFinal(CK_SESSION_HANDLE session)
{
	return simple(WIRE_FIND_FINAL, session, 0);
}

/* Random number generation functions (section 5.16). */

#define RANDOM_PIECE 65536

static CK_RV generate_random(const struct visit *visit, CK_SESSION_HANDLE session, CK_BYTE *random, CK_ULONG length)
{
	if (random == NULL && length != 0)
		return CKR_ARGUMENTS_BAD;
	do {
		CK_ULONG piece = length < RANDOM_PIECE ? length : RANDOM_PIECE;
		CK_RV rv = rpc_call_fixed(visit, WIRE_GENERATE_RANDOM, session, piece, random, piece);
		if (rv != CKR_OK)
			return rv;
		random = random != NULL ? random + piece : NULL;
		length -= piece;
	} while (length > 0);
	return CKR_OK;
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE session, CK_BYTE *random, CK_ULONG length)
{
	ENTRY(visit, generate_random(&visit, session, random, length));
}
