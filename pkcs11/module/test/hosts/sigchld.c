/*
 * A host that counts SIGCHLD while a thread of its own waits for children all
 * the time (argv[3]: "wait", or "all" with __WALL), one that ignores the
 * signal ("ignored") and one that lets the kernel reap ("reaped"): it starts
 * and ends the module often, and gets no signal and no stranger.
 */
#include "host.h"

static volatile sig_atomic_t signals;
static volatile bool stop;
static int option;

static void count(int number)
{
	(void)number;
	signals++;
}

static void *wait_for_children(void *unused)
{
	(void)unused;
	while (!stop) {
		pid_t pid = waitpid(-1, NULL, option);
		/* __WALL shows what any clone makes, for a moment; without it there is never anybody. */
		CHECK(pid < 0 || option == __WALL);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 4);
	const char *how = argv[3];
	option = strcmp(how, "all") == 0 ? __WALL : 0;
	struct sigaction action = {.sa_handler = strcmp(how, "ignored") == 0 ? SIG_IGN : count, .sa_flags = SA_RESTART};
	if (strcmp(how, "reaped") == 0)
		action.sa_flags |= SA_NOCLDWAIT;
	CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
	pthread_t thread;
	CHECK(pthread_create(&thread, NULL, wait_for_children, NULL) == 0);
	for (int i = 0; i < 20; i++) {
		initialize();
		if (i % 10 == 0)
			sign_once();
		OK(p11->C_Finalize(NULL));
	}
	CHECK(signals == 0);
	stop = true;
	CHECK(pthread_join(thread, NULL) == 0);
	struct sigaction after;
	CHECK(sigaction(SIGCHLD, NULL, &after) == 0 && after.sa_handler == action.sa_handler);
	CHECK((after.sa_flags & SA_NOCLDWAIT) == (action.sa_flags & SA_NOCLDWAIT));
	return 0;
}
