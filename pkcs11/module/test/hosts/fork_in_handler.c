/*
 * A signal handler forks while its thread is in a call: the call ends in the
 * child, where the client is not initialized any more, and goes on in the
 * parent.
 */
#include "kernel.h"

static volatile pid_t child = -1;

static void fork_here(int number)
{
	(void)number;
	child = fork();
}

static volatile pid_t token;

static void *signal_and_wake(void *thread)
{
	in_call((pid_t)(intptr_t)thread, SYS_recvmsg);
	CHECK(kill(getpid(), SIGUSR1) == 0);
	while (child < 0)
		usleep(1000);
	usleep(1000);
	CHECK(kill(token, SIGCONT) == 0);
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	struct sigaction action = {.sa_handler = fork_here, .sa_flags = SA_RESTART};
	CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
	initialize();
	sign_once();
	token = token_process();
	CHECK(token > 0);
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	pthread_t thread;
	CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0); /* for the other thread: the handler runs in this one */
	stop_process(token);
	CHECK(pthread_create(&thread, NULL, signal_and_wake, (void *)(intptr_t)getpid()) == 0);
	CHECK(pthread_sigmask(SIG_UNBLOCK, &blocked, NULL) == 0);
	CK_SLOT_INFO info;
	CK_RV rv = p11->C_GetSlotInfo(SLOT, &info);
	if (child == 0) {
		WANT(rv, CKR_CRYPTOKI_NOT_INITIALIZED);
		OK(p11->C_Initialize(NULL));
		sign_once();
		OK(p11->C_Finalize(NULL));
		CHECK(sockets() == 0);
		_exit(0);
	}
	OK(rv);
	CHECK(child > 0 && pthread_join(thread, NULL) == 0);
	succeed(child);
	sign_once();
	OK(p11->C_Finalize(NULL));
	CHECK(sockets() == 0);
	return 0;
}
