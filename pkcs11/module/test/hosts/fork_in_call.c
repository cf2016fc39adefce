/* Forks while other threads sign, start and end: no child hangs, and none keeps a socket of its parent. */
#include "kernel.h"



static volatile bool stop;

static void *sign_on(void *unused)
{
	(void)unused;
	CK_SESSION_HANDLE session = open_session();
	log_in(session);
	CK_OBJECT_HANDLE key = find_key(session);
	while (!stop)
		OK(try_sign(session, key, false));
	OK(p11->C_CloseSession(session));
	return NULL;
}

static void *restart(void *unused)
{
	(void)unused;
	while (!stop) {
		CK_RV rv = p11->C_Initialize(NULL);
		if (rv != CKR_OK)
			FAIL("C_Initialize: 0x%lx", rv);
		OK(p11->C_Finalize(NULL));
	}
	return NULL;
}


static void fork_often(int times, bool sign)
{
	for (int i = 0; i < times; i++) {
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			CHECK(sockets() == 0);
			if (sign) {
				OK(p11->C_Initialize(NULL));
				sign_once();
			}
			_exit(0);
		}
		succeed(child);
	}
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	pthread_t threads[4];
	stop = false;
	CHECK(pthread_create(&threads[0], NULL, restart, NULL) == 0);
	fork_often(100, false);
	stop = true;
	pthread_join(threads[0], NULL);

	stop = false;
	initialize();
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, sign_on, NULL) == 0);
	fork_often(10, true);
	stop = true;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	sign_once();
	OK(p11->C_Finalize(NULL));
	return 0;
}
