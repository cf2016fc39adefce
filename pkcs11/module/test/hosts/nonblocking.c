/*
 * Another part of the host makes every socket it finds non-blocking (an event
 * loop does that to what it inherits): the module waits for its answers as before.
 */
#include "kernel.h"
#include <sys/socket.h>

static CK_SESSION_HANDLE session;

static void make_all_nonblocking(void)
{
	int changed = 0;
	DIR *directory = opendir("/proc/self/fd");
	CHECK(directory != NULL);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		int fd = atoi(entry->d_name), type;
		socklen_t size = sizeof type;
		if (fd <= 2 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
			continue;
		CHECK(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
		changed++;
	}
	closedir(directory);
	CHECK(changed >= 2); /* the control socket and a data socket */
}

static void *wait_for_answer(void *argument)
{
	CK_SESSION_INFO info;
	OK(p11->C_GetSessionInfo(session, &info));
	return argument;
}

int main(int argc, char **argv)
{
	pthread_t threads[2];
	begin(argc, argv);
	initialize();
	session = open_session();
	make_all_nonblocking();
	pid_t token = token_process();
	CHECK(token > 0);
	stop_process(token);
	for (int i = 0; i < 2; i++) /* one with the socket that there is, one with a new one */
		CHECK(pthread_create(&threads[i], NULL, wait_for_answer, NULL) == 0);
	sleep(1); /* until the calls wait; it would pass without, and prove less */
	make_all_nonblocking();
	CHECK(kill(token, SIGCONT) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	make_all_nonblocking();
	sign_once();
	OK(p11->C_Finalize(NULL));
	return 0;
}
