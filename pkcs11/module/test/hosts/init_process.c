/* The tool is PID 1 of its namespace (argv[3] "pid1"), or a subreaper ("subreaper"): it signs, and C_Finalize leaves nothing to reap. */
#include "host.h"

#include <sys/prctl.h>

static void sign_and_end(void)
{
	initialize();
	sign_once();
	OK(p11->C_Finalize(NULL));
	/* The token process had become our child; C_Finalize has taken its status. */
	CHECK(wait(NULL) < 0 && errno == ECHILD);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 4);
	if (strcmp(argv[3], "subreaper") == 0) {
		CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
		sign_and_end();
		return 0;
	}
	if (unshare(CLONE_NEWPID) != 0) {
		fprintf(stderr, "skip: no new PID namespace: %s\n", strerror(errno));
		return 77;
	}
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		CHECK(getpid() == 1);
		sign_and_end();
		_exit(0);
	}
	succeed(child);
	return 0;
}
