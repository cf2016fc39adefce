/* Threads that are cancelled while they are in the module: the others go on, and C_Finalize waits for nobody. */
#include "host.h"

static void *start_cancelled(void *unused)
{
	(void)unused;
	pthread_cancel(pthread_self());
	p11->C_Initialize(NULL);
	pthread_testcancel();
	return NULL;
}

static void *call_cancelled(void *unused)
{
	(void)unused;
	CK_ULONG count;
	pthread_cancel(pthread_self());
	p11->C_GetSlotList(1, NULL, &count);
	pthread_testcancel();
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	pthread_t thread;
	void *result;
	CHECK(pthread_create(&thread, NULL, start_cancelled, NULL) == 0);
	CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
	CK_INFO info;
	OK(p11->C_GetInfo(&info)); /* the start was finished before the thread ended */
	for (int i = 0; i < 10; i++) {
		CHECK(pthread_create(&thread, NULL, call_cancelled, NULL) == 0);
		CHECK(pthread_join(thread, &result) == 0 && result == PTHREAD_CANCELED);
	}
	sign_once();
	time_t before = time(NULL);
	OK(p11->C_Finalize(NULL));
	CHECK(time(NULL) - before < 20); /* it gives up on a lost call after 30 s */
	return 0;
}
