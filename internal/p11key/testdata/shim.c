/*
 * A PKCS#11 module that passes every call on to another one, and fails where a test wants it.
 *
 * SHIM_REAL is the other module. SHIM_FAULTS is a folder; a file there, named for a function,
 * is a fault of its next call: "hang" (until the file is gone), "flip" (C_Sign: a wrong
 * signature), or a return value in hexadecimal (with "!" behind it: of every call).
 * Other files: "dead" (all calls fail until C_Finalize), "limit" (number of sessions),
 * "confirm" (keys want CKU_CONTEXT_SPECIFIC). Calls are written to the file "calls".
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cryptoki.h"

#define CKA_ALWAYS_AUTHENTICATE 0x202UL
#define CKU_CONTEXT_SPECIFIC 2UL

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST list;
static atomic_int sessions, inside;
static atomic_bool confirmed;

static void path_of(const char *name, char *path, size_t size)
{
	snprintf(path, size, "%s/%s", getenv("SHIM_FAULTS"), name);
}

static int read_fault(const char *name, char *text, size_t size)
{
	char path[4096];
	path_of(name, path, sizeof path);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, size - 1);
	close(fd);
	text[n < 0 ? 0 : n] = 0;
	return 1;
}

static void drop(const char *name)
{
	char path[4096];
	path_of(name, path, sizeof path);
	unlink(path);
}

static void record(const char *name)
{
	char path[4096], line[100];
	path_of("calls", path, sizeof path);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int n = snprintf(line, sizeof line, "%s\n", name);
	if (fd >= 0 && write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

/* fault returns the value that the call must fail with, or CKR_OK; *flip asks for a wrong answer. */
static CK_RV fault(const char *name, int *flip)
{
	char text[64];
	record(name);
	if (strcmp(name, "C_Initialize") && strcmp(name, "C_Finalize") && read_fault("dead", text, sizeof text))
		return CKR_DEVICE_ERROR;
	if (!read_fault(name, text, sizeof text))
		return CKR_OK;
	if (!strncmp(text, "hang", 4)) {
		while (read_fault(name, text, sizeof text))
			usleep(2000);
		return CKR_OK;
	}
	if (!strchr(text, '!'))
		drop(name);
	if (flip && !strncmp(text, "flip", 4)) {
		*flip = 1;
		return CKR_OK;
	}
	return strtoul(text, NULL, 16);
}

#define CHECK(name) \
	do { \
		CK_RV rv_ = fault(#name, NULL); \
		if (rv_ != CKR_OK) \
			return rv_; \
	} while (0)

static CK_RV shim_Initialize(void *args) { CHECK(C_Initialize); return real->C_Initialize(args); }

static CK_RV shim_Finalize(void *reserved)
{
	CHECK(C_Finalize);
	drop("dead");
	sessions = 0;
	return real->C_Finalize(reserved);
}

static CK_RV shim_GetSlotList(CK_BBOOL present, CK_SLOT_ID *slots, CK_ULONG *count)
{
	CHECK(C_GetSlotList);
	return real->C_GetSlotList(present, slots, count);
}

static CK_RV shim_OpenSession(CK_SLOT_ID slot, CK_FLAGS flags, void *application, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
	char text[64];
	CHECK(C_OpenSession);
	if (read_fault("limit", text, sizeof text) && sessions >= atoi(text))
		return 0xB1UL; /* CKR_SESSION_COUNT */
	CK_RV rv = real->C_OpenSession(slot, flags, application, notify, session);
	if (rv == CKR_OK)
		sessions++;
	return rv;
}

static CK_RV shim_CloseSession(CK_SESSION_HANDLE session)
{
	CHECK(C_CloseSession);
	CK_RV rv = real->C_CloseSession(session);
	if (rv == CKR_OK)
		sessions--;
	return rv;
}

static CK_RV shim_GetSessionInfo(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	CHECK(C_GetSessionInfo);
	return real->C_GetSessionInfo(session, info);
}

static CK_RV shim_Login(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
	CHECK(C_Login);
	if (user == CKU_CONTEXT_SPECIFIC) {
		confirmed = pin_len > 0;
		return CKR_OK;
	}
	return real->C_Login(session, user, pin, pin_len);
}

static CK_RV shim_FindObjectsInit(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG count)
{
	CHECK(C_FindObjectsInit);
	return real->C_FindObjectsInit(session, template, count);
}

static CK_RV shim_GetAttributeValue(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *template, CK_ULONG count)
{
	char text[64];
	CK_RV rv = real->C_GetAttributeValue(session, object, template, count);
	if (rv == CKR_OK && count == 1 && template->type == CKA_ALWAYS_AUTHENTICATE && template->pValue &&
	    read_fault("confirm", text, sizeof text))
		*(CK_BYTE *)template->pValue = 1;
	return rv;
}

static CK_RV shim_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	CHECK(C_SignInit);
	confirmed = 0;
	return real->C_SignInit(session, mechanism, key);
}

static CK_RV shim_Sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
{
	char text[64];
	int flip = 0;
	if (!signature) /* only the length */
		return real->C_Sign(session, data, data_len, signature, signature_len);
	if (inside++ > 0)
		record("overlap");
	CK_RV rv = fault("C_Sign", &flip);
	if (rv == CKR_OK && read_fault("confirm", text, sizeof text) && !confirmed)
		rv = 0x101UL; /* CKR_USER_NOT_LOGGED_IN */
	if (rv == CKR_OK)
		rv = real->C_Sign(session, data, data_len, signature, signature_len);
	if (rv == CKR_OK && flip)
		signature[*signature_len - 1] ^= 1;
	inside--;
	return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out)
{
	if (!real) {
		void *handle = dlopen(getenv("SHIM_REAL"), RTLD_NOW);
		CK_RV (*get)(CK_FUNCTION_LIST **);
		if (!handle || !(*(void **)&get = dlsym(handle, "C_GetFunctionList")) || get(&real) != CKR_OK)
			abort();
		list = *real;
		list.C_Initialize = shim_Initialize;
		list.C_Finalize = shim_Finalize;
		list.C_GetSlotList = shim_GetSlotList;
		list.C_OpenSession = shim_OpenSession;
		list.C_CloseSession = shim_CloseSession;
		list.C_GetSessionInfo = shim_GetSessionInfo;
		list.C_Login = shim_Login;
		list.C_FindObjectsInit = shim_FindObjectsInit;
		list.C_GetAttributeValue = shim_GetAttributeValue;
		list.C_SignInit = shim_SignInit;
		list.C_Sign = shim_Sign;
	}
	*out = &list;
	return CKR_OK;
}
