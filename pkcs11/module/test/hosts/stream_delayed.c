/*
 * One data socket is read late (relay/): the sign operation on it waits, those
 * on others go on, and what the host does to it meanwhile never leads to a
 * signature of less than the whole text, which is "hello" argv[3] times.
 * argv[4] says what that is: "nothing", "final" (a second thread tries to end
 * the operation), "close", or "logout".
 */
#include "host.h"

static CK_BYTE *text;
static size_t size;

struct task {
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE key;
	CK_RV rv;
	bool done;
	CK_BYTE signature[1024];
	CK_ULONG length;
};

static CK_RV stream(struct task *task)
{
	CK_MECHANISM how = mechanism();
	CK_RV rv = p11->C_SignInit(task->session, &how, task->key);
	for (size_t at = 0, piece = 1; rv == CKR_OK && at < size; piece = piece * 2 < 300000 ? piece * 2 : 1) {
		size_t now = piece < size - at ? piece : size - at;
		rv = p11->C_SignUpdate(task->session, text + at, now);
		at += now;
	}
	task->length = sizeof task->signature;
	return rv == CKR_OK ? p11->C_SignFinal(task->session, task->signature, &task->length) : rv;
}

static void *in_thread(void *argument)
{
	struct task *task = argument;
	task->rv = stream(task);
	__atomic_store_n(&task->done, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void wait_for_file(const char *path)
{
	for (int tries = 0; access(path, F_OK) != 0; tries++) {
		CHECK(tries < 60000);
		usleep(1000);
	}
}

/* interfere does what the test is about, while the operation of the delayed session cannot end. */
static CK_RV interfere(const char *how, CK_SESSION_HANDLE delayed)
{
	CK_BYTE signature[1024];
	CK_ULONG length = sizeof signature;
	if (strcmp(how, "final") == 0) {
		WANT(p11->C_SignFinal(delayed, signature, &length), CKR_OPERATION_NOT_INITIALIZED);
		WANT(p11->C_Sign(delayed, text, 5, signature, &length), CKR_OPERATION_NOT_INITIALIZED);
	}
	if (strcmp(how, "close") == 0) {
		OK(p11->C_CloseSession(delayed));
		return CKR_SESSION_HANDLE_INVALID;
	}
	if (strcmp(how, "logout") == 0) {
		OK(p11->C_Logout(delayed));
		return CKR_OPERATION_NOT_INITIALIZED;
	}
	return CKR_OK;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 5);
	size = 5 * (size_t)atol(argv[3]);
	CHECK((text = malloc(size)) != NULL);
	for (size_t at = 0; at < size; at += 5)
		memcpy(text + at, "hello", 5);
	initialize();
	struct task delayed = {.session = open_session()}, other = {.session = open_session()};
	log_in(delayed.session);
	other.key = delayed.key = find_key(delayed.session);
	pthread_t thread;
	CHECK(pthread_create(&thread, NULL, in_thread, &delayed) == 0);
	wait_for_file(getenv("SIGNKIT_TEST_REACHED"));

	OK(stream(&other)); /* the delay of one socket is no other's */
	print_signature(other.signature, other.length);
	CHECK(!__atomic_load_n(&delayed.done, __ATOMIC_SEQ_CST));
	CK_RV want = interfere(argv[4], delayed.session);
	CHECK(close(creat(getenv("SIGNKIT_TEST_PROCEED"), 0600)) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	if (delayed.rv != want)
		FAIL("the delayed signature is 0x%lx, not 0x%lx", delayed.rv, want);
	if (delayed.rv == CKR_OK)
		print_signature(delayed.signature, delayed.length);
	OK(p11->C_Finalize(NULL));
	free(text);
	return 0;
}
