/*
 * The token process does not run, and more threads call than its control socket
 * holds offers of new sockets: those wait, and nobody else does for them, neither
 * a call that needs no answer, nor a fork, nor C_Finalize.
 */
#include "kernel.h"
#include <sys/socket.h>

#define THREADS 40

static CK_SESSION_HANDLE session;
static CK_RV wanted;

static void *wait_for_answer(void *argument)
{
	CK_SESSION_INFO info;
	WANT(p11->C_GetSessionInfo(session, &info), wanted);
	return argument;
}

/* shrink leaves room for a few packets only; with the usual room it takes hundreds of sockets. */
static void shrink(void)
{
	int found = 0;
	DIR *directory = opendir("/proc/self/fd");
	CHECK(directory != NULL);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		int fd = atoi(entry->d_name), type, least = 1;
		socklen_t size = sizeof type;
		if (fd <= 2 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET)
			continue;
		CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least) == 0);
		found++;
	}
	closedir(directory);
	CHECK(found == 1);
}

/* start_and_stop starts the token process, which then does not run. */
static pid_t start_and_stop(void)
{
	initialize();
	session = open_session();
	shrink();
	pid_t token = token_process();
	CHECK(token > 0);
	stop_process(token);
	return token;
}

static void crowd(pthread_t threads[THREADS], CK_RV rv)
{
	wanted = rv;
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, wait_for_answer, NULL) == 0);
	sleep(1); /* until the calls wait; it would pass without, and prove less */
}

static void join(pthread_t threads[THREADS])
{
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(int argc, char **argv)
{
	pthread_t threads[THREADS];
	CK_INFO info;
	begin(argc, argv);
	pid_t token = start_and_stop();
	crowd(threads, CKR_OK);
	OK(p11->C_GetInfo(&info)); /* a device error if it had to wait until the token process counts as lost */
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0)
		_exit(0);
	succeed(child);
	OK(p11->C_GetInfo(&info));
	CHECK(kill(token, SIGCONT) == 0);
	join(threads);
	sign_once();
	OK(p11->C_Finalize(NULL));

	token = start_and_stop();
	crowd(threads, CKR_CRYPTOKI_NOT_INITIALIZED);
	OK(p11->C_Finalize(NULL));
	join(threads);
	CHECK(kill(token, SIGCONT) == 0);
	CHECK(sockets() == 0);
	initialize();
	sign_once();
	OK(p11->C_Finalize(NULL));
	return 0;
}
