/*
 * Forks, and goes on in a thread of the child that is not the one that forked:
 * each call takes its usual time, the child's own threads included. argv[3]
 * says when: "loaded" (before any C_Initialize), "started" (after it), or
 * "starting" (while another thread is in the first one, with its lock).
 */
#include "kernel.h"

#include <semaphore.h>

#define CHILD_LIMIT 60 /* seconds: far more than any child takes */

static sem_t in_start, go_on;
static volatile bool hold_start;

/* The module calls this in its first start, with its lock held. */
int pthread_condattr_init(pthread_condattr_t *attributes)
{
	int (*real)(pthread_condattr_t *) = (int (*)(pthread_condattr_t *))dlsym(RTLD_NEXT, "pthread_condattr_init");
	if (hold_start) {
		hold_start = false;
		sem_post(&in_start);
		while (sem_wait(&go_on) != 0)
			;
	}
	return real(attributes);
}

static void *sign_in_thread(void *unused)
{
	(void)unused;
	PROMPTLY(sign_once());
	return NULL;
}

static void *go_on_in_child(void *unused)
{
	CK_INFO info;
	WANT(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
	PROMPTLY(OK(p11->C_Initialize(NULL)));
	CK_SESSION_HANDLE session = open_session(); /* the login lasts as long */
	log_in(session);
	pthread_t threads[2];
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, sign_in_thread, NULL) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	PROMPTLY(OK(p11->C_Finalize(NULL)));
	CHECK(sockets() == 0);
	return unused;
}

static void fork_and_go_on(void)
{
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		pthread_t thread;
		alarm(CHILD_LIMIT);
		CHECK(pthread_create(&thread, NULL, go_on_in_child, NULL) == 0);
		CHECK(pthread_join(thread, NULL) == 0);
		_exit(0);
	}
	sem_post(&go_on);
	succeed(child);
}

static void *start(void *unused)
{
	OK(p11->C_Initialize(NULL));
	return unused;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 4 && sem_init(&in_start, 0, 0) == 0 && sem_init(&go_on, 0, 0) == 0);
	pthread_t thread;
	if (strcmp(argv[3], "loaded") == 0)
		fork_and_go_on();
	hold_start = strcmp(argv[3], "starting") == 0;
	CHECK(pthread_create(&thread, NULL, start, NULL) == 0);
	if (strcmp(argv[3], "starting") == 0) {
		while (sem_wait(&in_start) != 0)
			;
		fork_and_go_on();
	}
	CHECK(pthread_join(thread, NULL) == 0);
	if (strcmp(argv[3], "started") == 0)
		fork_and_go_on();
	sign_once();
	PROMPTLY(OK(p11->C_Finalize(NULL)));
	CHECK(sockets() == 0);
	return 0;
}
