/*
 * A thread with the smallest stack (16 KiB on most machines) does everything, while a timer signal
 * arrives every millisecond on a stack that is as small as the kernel allows.
 */
#include "host.h"

#include <sys/auxv.h>
#include <sys/time.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static volatile sig_atomic_t ticks;

static void tick(int number)
{
	(void)number;
	ticks++;
}

static void *work(void *unused)
{
	(void)unused;
	size_t size = getauxval(AT_MINSIGSTKSZ) + 1024;
	if (size < 3072)
		size = 3072;
	stack_t stack = {.ss_sp = malloc(size), .ss_size = size};
	CHECK(stack.ss_sp != NULL && sigaltstack(&stack, NULL) == 0);
	for (int i = 0; i < 10; i++) {
		initialize();
		sign_once();
		OK(p11->C_Finalize(NULL));
	}
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	struct sigaction action = {.sa_handler = tick, .sa_flags = SA_ONSTACK | SA_RESTART};
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	pthread_attr_t attributes;
	pthread_t thread;
	CHECK(pthread_attr_init(&attributes) == 0);
	long least = sysconf(_SC_THREAD_STACK_MIN);
	CHECK(pthread_attr_setstacksize(&attributes, least > 16384 ? (size_t)least : 16384) == 0);
	CHECK(pthread_create(&thread, &attributes, work, NULL) == 0);
	sigset_t alarm_only;
	sigemptyset(&alarm_only);
	sigaddset(&alarm_only, SIGALRM);
	CHECK(pthread_sigmask(SIG_BLOCK, &alarm_only, NULL) == 0); /* the other thread gets them */
	struct itimerval every = {{0, 1000}, {0, 1000}};
	CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(ticks > 0);
	return 0;
}
