/*
 * The host's allocator has nothing more to give while a thread is in a call
 * (it does not even set errno): that call is refused with CKR_HOST_MEMORY or
 * does without, and the next one works at once. A signature that the service
 * has made is never lost that way. argv[3] "each" tries each call; with "answer" the
 * token process answers a text too early and at length (relay/), which must not be
 * taken for the next answer.
 */
#include "host.h"

static __thread bool short_of_memory;
static __thread int left, refusals; /* allocations that still work, and those that did not */

static bool refuse(void)
{
	if (!short_of_memory || left-- > 0)
		return false;
	refusals++;
	errno = 0;
	return true;
}

void *malloc(size_t size)
{
	static void *(*real)(size_t);
	if (real == NULL)
		real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	return refuse() ? NULL : real(size);
}

void *calloc(size_t count, size_t size)
{
	static void *(*real)(size_t, size_t);
	if (real == NULL)
		real = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
	return refuse() ? NULL : real(count, size);
}

/* What the calls are about. */
static CK_SESSION_HANDLE session, other;
static CK_OBJECT_HANDLE key;
static CK_BYTE signature[1024], text[600000], random_bytes[65536];
static CK_ULONG length;

static CK_RV slots(void)
{
	CK_ULONG count = 0;
	return p11->C_GetSlotList(1, NULL, &count);
}

static CK_RV open_and_close(void)
{
	CK_SESSION_HANDLE opened;
	CK_RV rv = p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &opened);
	return rv != CKR_OK ? rv : p11->C_CloseSession(opened);
}

static CK_RV find_init(void)
{
	CK_ULONG class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template = {CKA_CLASS, &class, sizeof class};
	CK_RV rv = p11->C_FindObjectsInit(session, &template, 1);
	return rv != CKR_OK ? rv : p11->C_FindObjectsFinal(session);
}

static CK_RV attribute(void)
{
	CK_ATTRIBUTE template = {CKA_ID, NULL, 0};
	return p11->C_GetAttributeValue(session, key, &template, 1);
}

static CK_RV large_answer(void)
{
	return p11->C_GenerateRandom(session, random_bytes, sizeof random_bytes);
}

static CK_RV sign_init(void)
{
	CK_MECHANISM how = mechanism();
	return p11->C_SignInit(session, &how, key);
}

/* attempt makes one call that gets `allocations` only. */
static CK_RV attempt(CK_RV (*call)(void), int allocations)
{
	CK_RV rv;
	left = allocations;
	short_of_memory = true;
	PROMPTLY(rv = call());
	short_of_memory = false;
	return rv;
}

/* try_each refuses the first allocation of a call, then the second … until it has had all that it needs. */
static void try_each(const char *name, CK_RV (*call)(void), bool idle)
{
	CK_MECHANISM how = mechanism();
	for (int allocations = 0;; allocations++) {
		if (!idle) /* the operation takes the one socket that is free, so that the call must make another */
			OK(p11->C_SignInit(other, &how, key));
		refusals = 0;
		CK_RV rv = attempt(call, allocations);
		if (!idle) {
			length = sizeof signature;
			OK(p11->C_Sign(other, (CK_BYTE *)"hello", 5, signature, &length));
		}
		CK_SESSION_INFO info;
		OK(p11->C_GetSessionInfo(other, &info)); /* no other session is concerned */
		if (rv == CKR_OK && refusals == 0)
			return;
		if (rv != CKR_HOST_MEMORY || allocations > 10)
			FAIL("%s with %d allocations is 0x%lx", name, allocations, rv);
	}
}

static CK_RV sign(void)
{
	length = sizeof signature;
	return p11->C_Sign(session, (CK_BYTE *)"hello", 5, signature, &length);
}

static CK_RV update_and_final(void)
{
	CK_RV rv = p11->C_SignUpdate(session, (CK_BYTE *)"hel", 3);
	if (rv == CKR_OK)
		rv = p11->C_SignUpdate(session, (CK_BYTE *)"lo", 2);
	length = sizeof signature;
	return rv == CKR_OK ? p11->C_SignFinal(session, signature, &length) : rv;
}

static void each(void)
{
	static const struct {
		const char *name;
		CK_RV (*call)(void);
	} calls[] = {
		{"C_GetSlotList", slots}, {"C_OpenSession", open_and_close}, {"C_FindObjectsInit", find_init},
		{"C_GetAttributeValue", attribute}, {"C_GenerateRandom", large_answer},
	};
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		try_each(calls[i].name, calls[i].call, true);
		try_each(calls[i].name, calls[i].call, false);
	}
	/* An operation that could not begin does not stand in the way of the next one. */
	int refused = 0;
	CK_RV rv;
	while ((rv = attempt(sign_init, refused)) == CKR_HOST_MEMORY)
		CHECK(++refused < 10);
	OK(rv);
	CHECK(refused > 0);
	/* From here on the whole way works without memory. */
	OK(attempt(sign, 0));
	print_signature(signature, length);
	OK(sign_init());
	OK(attempt(update_and_final, 0));
	print_signature(signature, length);
}

static CK_RV update(void)
{
	return p11->C_SignUpdate(session, text, sizeof text);
}

static void answered(void)
{
	CK_MECHANISM how = mechanism();
	OK(sign_init());
	OK(p11->C_SignInit(other, &how, key));
	for (int i = 0; i < 3; i++)
		OK(update());
	for (int tries = 0; access(getenv("SIGNKIT_TEST_REACHED"), F_OK) != 0; tries++) {
		CHECK(tries < 60000);
		usleep(1000);
	}
	WANT(attempt(update, 0), CKR_HOST_MEMORY);
	PROMPTLY(WANT(update(), CKR_OPERATION_NOT_INITIALIZED));
	length = sizeof signature;
	OK(p11->C_Sign(other, (CK_BYTE *)"hello", 5, signature, &length));
	print_signature(signature, length);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 4);
	initialize();
	session = open_session();
	other = open_session();
	log_in(session);
	key = find_key(session);
	if (strcmp(argv[3], "each") == 0)
		each();
	else
		answered();
	OK(p11->C_Finalize(NULL));
	return 0;
}
