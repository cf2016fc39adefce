/* A host that waits for all its children and counts SIGCHLD sees its own children only. */
#include "host.h"

static volatile sig_atomic_t signals;

static void count(int number)
{
	(void)number;
	signals++;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = count, .sa_flags = SA_RESTART};
	CHECK(sigaction(SIGCHLD, &action, NULL) == 0);
	begin(argc, argv);
	initialize();
	sign_once();
	CHECK(signals == 0);
	CHECK(wait(NULL) < 0 && errno == ECHILD);
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	int children = 0;
	for (pid_t pid; (pid = wait(NULL)) > 0; children++)
		CHECK(pid == child);
	CHECK(children == 1 && signals == 1);
	sign_once();
	OK(p11->C_Finalize(NULL));
	CHECK(wait(NULL) < 0 && errno == ECHILD && signals == 1);
	return 0;
}
