/*
 * The host is stopped (Ctrl-Z, a frozen container) for longer than the token
 * process may be silent (argv[3], in seconds), while a call waits: the call goes on afterwards.
 */
#include "kernel.h"

/* for_longer_than_silence stops the host; the token process does not answer before. */
static void for_longer_than_silence(unsigned silence, pid_t parent, pid_t token, int ready)
{
	stop_process(token);
	CHECK(write(ready, "", 1) == 1);
	sleep(1); /* until the call waits; it would pass without, and prove less */
	CHECK(kill(parent, SIGSTOP) == 0);
	sleep(silence + 2);
	CHECK(kill(parent, SIGCONT) == 0);
	sleep(1);
	CHECK(kill(token, SIGCONT) == 0);
	_exit(0);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 4);
	initialize();
	CK_SESSION_HANDLE session = open_session();
	pid_t parent = getpid(), token = token_process();
	CHECK(token > 0);
	int ready[2];
	char byte;
	CHECK(pipe(ready) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0)
		for_longer_than_silence((unsigned)atoi(argv[3]), parent, token, ready[1]);
	CHECK(read(ready[0], &byte, 1) == 1);
	CK_SESSION_INFO info;
	OK(p11->C_GetSessionInfo(session, &info));
	succeed(child);
	sign_once();
	OK(p11->C_Finalize(NULL));
	return 0;
}
