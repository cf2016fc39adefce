/*
 * Copies of the process that no fork handler sees. argv[3] says which: "fork"
 * (_Fork of the C library), "clone" (the bare system call, while other threads
 * are in calls), "namespace" (each generation is PID 1 of a namespace of its
 * own, so that getpid tells nothing), "threads" (several threads of a copy
 * start the module at once) and "lent" (vfork: the memory is the parent's).
 * argv[4] "old": a kernel without MADV_WIPEONFORK.
 */
#include "kernel.h"

static volatile bool stop;

static pid_t bare_clone(unsigned long flags)
{
	return (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
}

static pid_t c_library_clone(void)
{
	pid_t (*function)(void) = (pid_t(*)(void))dlsym(RTLD_DEFAULT, "_Fork");
	return function != NULL ? function() : bare_clone(0);
}

static void not_initialized(void)
{
	CK_INFO info;
	CK_SESSION_HANDLE session;
	WANT(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
}

static void start_and_sign(void)
{
	not_initialized();
	OK(p11->C_Initialize(NULL));
	sign_once();
	OK(p11->C_Finalize(NULL));
	not_initialized();
	OK(p11->C_Initialize(NULL));
	sign_once();
	_exit(0);
}

static void *sign_on(void *unused)
{
	(void)unused;
	CK_SESSION_HANDLE session = open_session();
	log_in(session);
	CK_OBJECT_HANDLE key = find_key(session);
	while (!stop)
		OK(try_sign(session, key, false));
	return NULL;
}

static void clone_in_calls(void)
{
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, sign_on, NULL) == 0);
	for (int i = 0; i < 50; i++) {
		pid_t child = bare_clone(0);
		CHECK(child >= 0);
		if (child == 0) {
			not_initialized(); /* whatever lock another thread held */
			_exit(0);
		}
		succeed(child);
	}
	stop = true;
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	pid_t child = bare_clone(0);
	if (child == 0)
		start_and_sign();
	succeed(child);
}

static void namespaces(void)
{
	pid_t first = bare_clone(CLONE_NEWPID);
	if (first < 0)
		SKIP("no new PID namespace");
	if (first == 0) {
		CHECK(syscall(SYS_getpid) == 1);
		not_initialized();
		OK(p11->C_Initialize(NULL));
		sign_once();
		pid_t second = bare_clone(CLONE_NEWPID);
		CHECK(second >= 0);
		if (second == 0) {
			CHECK(syscall(SYS_getpid) == 1); /* the number that started the client */
			start_and_sign();
		}
		succeed(second);
		sign_once();
		_exit(0);
	}
	succeed(first);
}

static pthread_barrier_t barrier;
static int started;

static void *start(void *unused)
{
	(void)unused;
	CK_INFO info;
	pthread_barrier_wait(&barrier);
	CK_RV rv = p11->C_Initialize(NULL);
	if (rv == CKR_OK)
		__atomic_add_fetch(&started, 1, __ATOMIC_SEQ_CST);
	else
		WANT(rv, CKR_CRYPTOKI_ALREADY_INITIALIZED);
	OK(p11->C_GetInfo(&info));
	return NULL;
}

static void start_at_once(void)
{
	for (int i = 0; i < 50; i++) {
		pid_t child = bare_clone(0);
		CHECK(child >= 0);
		if (child == 0) {
			pthread_t threads[8];
			CHECK(pthread_barrier_init(&barrier, NULL, 8) == 0);
			for (int j = 0; j < 8; j++)
				CHECK(pthread_create(&threads[j], NULL, start, NULL) == 0);
			for (int j = 0; j < 8; j++)
				CHECK(pthread_join(threads[j], NULL) == 0);
			CHECK(started == 1);
			if (i == 0)
				sign_once();
			_exit(0);
		}
		succeed(child);
	}
}

static void lend(void)
{
	pid_t child = vfork();
	CHECK(child >= 0);
	if (child == 0) {
		CK_INFO info;
		CK_RV get = p11->C_GetInfo(&info), start_rv = p11->C_Initialize(NULL), end = p11->C_Finalize(NULL);
		_exit(get == CKR_CRYPTOKI_NOT_INITIALIZED && start_rv == CKR_GENERAL_ERROR && end == CKR_CRYPTOKI_NOT_INITIALIZED ? 0 : 1);
	}
	succeed(child);
}

int main(int argc, char **argv)
{
	CHECK(argc == 5);
	if (strcmp(argv[4], "old") == 0)
		deny_wipe(); /* the module marks its process when it is loaded */
	begin(argc, argv);
	const char *how = argv[3];
	initialize();
	CK_SESSION_HANDLE session = open_session();
	log_in(session);
	CK_OBJECT_HANDLE key = find_key(session);
	if (strcmp(how, "fork") == 0) {
		pid_t child = c_library_clone();
		CHECK(child >= 0);
		if (child == 0)
			start_and_sign();
		succeed(child);
	}
	if (strcmp(how, "clone") == 0)
		clone_in_calls();
	if (strcmp(how, "namespace") == 0)
		namespaces();
	if (strcmp(how, "threads") == 0)
		start_at_once();
	if (strcmp(how, "lent") == 0)
		lend();
	/* Whatever a copy did: the parent's own is as it was. */
	OK(try_sign(session, key, true));
	OK(p11->C_Finalize(NULL));
	CHECK(sockets() == 0);
	return 0;
}
