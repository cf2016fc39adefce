/*
 * What C_Initialize takes: every sum of flags with no callbacks and with all
 * four (never called, and the module uses no thread of the host); a part of
 * the callbacks is refused; one of many threads is the first.
 */
#include "host.h"

static CK_C_INITIALIZE_ARGS callbacks(int which, CK_FLAGS flags)
{
	CK_C_INITIALIZE_ARGS args = {.flags = flags};
	if (which & 1)
		args.CreateMutex = (CK_CREATEMUTEX)abort;
	if (which & 2)
		args.DestroyMutex = (CK_DESTROYMUTEX)abort;
	if (which & 4)
		args.LockMutex = (CK_LOCKMUTEX)abort;
	if (which & 8)
		args.UnlockMutex = (CK_UNLOCKMUTEX)abort;
	return args;
}

static pthread_barrier_t barrier;
static int first;

static void *start(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&barrier);
	CK_RV rv = p11->C_Initialize(NULL);
	if (rv == CKR_OK)
		__atomic_add_fetch(&first, 1, __ATOMIC_SEQ_CST);
	else
		WANT(rv, CKR_CRYPTOKI_ALREADY_INITIALIZED);
	CK_ULONG count;
	OK(p11->C_GetSlotList(1, NULL, &count)); /* at once, whoever was first */
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	for (CK_FLAGS flags = 0; flags < 4; flags++)
		for (int which = 0; which < 16; which++) {
			CK_C_INITIALIZE_ARGS args = callbacks(which, flags);
			CK_RV rv = p11->C_Initialize(&args);
			if (which != 0 && which != 15) {
				WANT(rv, CKR_ARGUMENTS_BAD);
				continue;
			}
			OK(rv);
			WANT(p11->C_Initialize(&args), CKR_CRYPTOKI_ALREADY_INITIALIZED);
			WANT(p11->C_Initialize(NULL), CKR_CRYPTOKI_ALREADY_INITIALIZED);
			sign_once();
			OK(p11->C_Finalize(NULL));
		}
	for (int round = 0; round < 10; round++) {
		pthread_t threads[16];
		first = 0;
		CHECK(pthread_barrier_init(&barrier, NULL, 16) == 0);
		for (int i = 0; i < 16; i++)
			CHECK(pthread_create(&threads[i], NULL, start, NULL) == 0);
		for (int i = 0; i < 16; i++)
			CHECK(pthread_join(threads[i], NULL) == 0);
		CHECK(first == 1);
		OK(p11->C_Finalize(NULL));
	}
	return 0;
}
