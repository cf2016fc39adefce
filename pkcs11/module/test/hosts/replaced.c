/*
 * While a call waits, another thread closes the module's descriptors and has a
 * socket of its own in their place: the module reads nothing from it, closes
 * none of them, and can be started again.
 */
#include "kernel.h"
#include <sys/socket.h>
#include <sys/stat.h>

static CK_SESSION_HANDLE session;

static void *wait_for_answer(void *argument)
{
	CK_SESSION_INFO info;
	WANT(p11->C_GetSessionInfo(session, &info), CKR_DEVICE_ERROR);
	return argument;
}

/* module_sockets lists the sockets that are not among the first of the host's own. */
static int module_sockets(int *list, int most)
{
	int count = 0;
	DIR *directory = opendir("/proc/self/fd");
	CHECK(directory != NULL);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		struct stat status;
		int fd = atoi(entry->d_name);
		if (fd > 2 && fd != dirfd(directory) && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode) && count < most)
			list[count++] = fd;
	}
	closedir(directory);
	return count;
}

int main(int argc, char **argv)
{
	static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";
	char read_back[sizeof text + 1];
	int taken[64], own[2];
	pthread_t thread;
	begin(argc, argv);
	initialize();
	session = open_session();
	pid_t token = token_process();
	CHECK(token > 0);
	stop_process(token);
	CHECK(pthread_create(&thread, NULL, wait_for_answer, NULL) == 0);
	sleep(1); /* until the call waits; it would pass without, and prove less */
	int count = module_sockets(taken, 64);
	CHECK(count > 0);
	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, own) == 0);
	for (int i = 0; i < count; i++)
		CHECK(dup2(own[0], taken[i]) == taken[i]);
	CHECK(write(own[1], text, sizeof text) == (ssize_t)sizeof text);
	CHECK(kill(token, SIGCONT) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	OK(p11->C_Finalize(NULL));
	CHECK(recv(own[0], read_back, sizeof read_back, MSG_DONTWAIT) == (ssize_t)sizeof text);
	CHECK(memcmp(read_back, text, sizeof text) == 0);
	for (int i = 0; i < count; i++)
		CHECK(fcntl(taken[i], F_GETFD) >= 0);
	initialize();
	sign_once();
	OK(p11->C_Finalize(NULL));
	return 0;
}
