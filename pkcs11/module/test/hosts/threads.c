/* 64 threads, each with sessions of its own; then C_Finalize while they are in calls. */
#include "host.h"

#define THREADS 64

static pthread_barrier_t barrier;
static volatile bool ending;

static void *work(void *unused)
{
	(void)unused;
	CK_SESSION_HANDLE first = open_session(), second = open_session();
	log_in(first);
	CK_OBJECT_HANDLE key = find_key(first);
	CK_MECHANISM how = mechanism();
	CK_BYTE signature[1024];
	CK_ULONG length = sizeof signature;
	/* All sessions have an operation at the same time. */
	OK(p11->C_SignInit(first, &how, key));
	OK(p11->C_SignInit(second, &how, key));
	pthread_barrier_wait(&barrier);
	OK(p11->C_Sign(first, (CK_BYTE *)"hello", 5, signature, &length));
	print_signature(signature, length);
	OK(p11->C_SignUpdate(second, (CK_BYTE *)"hello", 5));
	length = sizeof signature;
	OK(p11->C_SignFinal(second, signature, &length));
	print_signature(signature, length);
	OK(p11->C_CloseSession(second));
	pthread_barrier_wait(&barrier);
	for (;;) {
		CK_RV rv = try_sign(first, key, false);
		if (rv == CKR_CRYPTOKI_NOT_INITIALIZED)
			return NULL;
		OK(rv);
	}
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	initialize();
	pthread_t threads[THREADS];
	CHECK(pthread_barrier_init(&barrier, NULL, THREADS + 1) == 0);
	CK_SESSION_HANDLE keep_login = open_session();
	log_in(keep_login);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	OK(p11->C_Finalize(NULL));
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
