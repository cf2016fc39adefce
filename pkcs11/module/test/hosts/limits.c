/*
 * Limits that keep the token process from starting, or sockets from being made
 * (argv[3]): every call ends, with an error code where it cannot work, and the
 * host goes on. Exit 0: it signed; 3: it was refused with a code.
 */
#include "kernel.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

static bool greets_late;

/* The module sends its greeting, and the token process has ended before: as when the host gets no processor meanwhile. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	if (greets_late) {
		struct pollfd end = {.fd = fd};
		CHECK(poll(&end, 1, 60000) == 1);
		greets_late = false;
	}
	return syscall(SYS_sendmsg, fd, message, flags);
}

static void limit(int resource, rlim_t value)
{
	struct rlimit to = {value, value};
	CHECK(setrlimit(resource, &to) == 0);
}

static int highest(void)
{
	int fd = dup(0), spare;
	CHECK(fd >= 0);
	spare = fd;
	close(fd);
	return spare;
}

static void *sign_in_thread(void *unused)
{
	(void)unused;
	CK_SESSION_HANDLE session;
	CK_RV rv = p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session);
	if (rv != CKR_OK)
		return NULL;
	log_in(session);
	CK_SLOT_INFO info;
	for (int i = 0; i < 20; i++)
		OK(p11->C_GetSlotInfo(SLOT, &info));
	OK(p11->C_CloseSession(session));
	return NULL;
}

static void *nothing(void *unused)
{
	return unused;
}

/*
 * open_operations begins sign operations, each with a socket of its own, until
 * no descriptor is left: that one call is refused, the others are not, and the
 * token process lives.
 */
static void open_operations(void)
{
	enum { MANY = 400 };
	static CK_SESSION_HANDLE sessions[MANY];
	for (int i = 0; i < MANY; i++)
		sessions[i] = open_session();
	log_in(sessions[0]);
	CK_OBJECT_HANDLE key = find_key(sessions[0]);
	CK_MECHANISM how = mechanism();
	CK_BYTE signature[1024];
	CK_ULONG length = sizeof signature;
	int begun = 0;
	CK_RV rv;
	while (begun < MANY && (rv = p11->C_SignInit(sessions[begun], &how, key)) == CKR_OK)
		begun++;
	CHECK(begun > 100 && begun < MANY);
	WANT(rv, CKR_HOST_MEMORY);
	WANT(p11->C_SignInit(sessions[begun], &how, key), CKR_HOST_MEMORY);
	/* Those that were begun go on, and one that ends makes room. */
	for (int i = 0; i < 3; i++) {
		length = sizeof signature;
		OK(p11->C_Sign(sessions[i], (CK_BYTE *)"hello", 5, signature, &length));
		print_signature(signature, length);
	}
	OK(try_sign(sessions[begun], key, true));
	for (int i = 0; i < MANY; i++)
		OK(p11->C_CloseSession(sessions[i]));
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 4);
	const char *what = argv[3];
	greets_late = strcmp(what, "memory-before-greeting") == 0;
	if (strncmp(what, "memory", 6) == 0)
		limit(RLIMIT_AS, 64UL << 20);
	if (strcmp(what, "processes") == 0) {
		CHECK(setgid(65534) == 0 && setuid(65534) == 0);
		limit(RLIMIT_NPROC, 0);
	}
	if (strcmp(what, "two-at-start") == 0)
		limit(RLIMIT_NOFILE, (rlim_t)highest() + 2);
	pthread_t none;
	if (strcmp(what, "no-threads") == 0) {
		deny_threads();
		CHECK(pthread_create(&none, NULL, nothing, NULL) != 0);
	}
	if (strcmp(what, "no-processes") == 0) {
		deny_processes();
		CHECK(fork() < 0 && errno == EPERM);
	}
	if (strcmp(what, "operations") == 0)
		limit(RLIMIT_NOFILE, 300);
	CK_RV rv = p11->C_Initialize(NULL);
	if (rv == CKR_GENERAL_ERROR || rv == CKR_HOST_MEMORY)
		return 3;
	OK(rv);
	if (strcmp(what, "two-later") == 0) {
		limit(RLIMIT_NOFILE, (rlim_t)highest() + 2);
		CK_SESSION_HANDLE keep = open_session();
		log_in(keep);
		pthread_t threads[16];
		for (int i = 0; i < 16; i++)
			CHECK(pthread_create(&threads[i], NULL, sign_in_thread, NULL) == 0);
		for (int i = 0; i < 16; i++)
			pthread_join(threads[i], NULL);
	}
	if (strcmp(what, "operations") == 0)
		open_operations();
	CK_ULONG count = 0;
	rv = p11->C_GetSlotList(1, NULL, &count);
	if (rv == CKR_DEVICE_ERROR) {
		p11->C_Finalize(NULL);
		return 3;
	}
	OK(rv);
	sign_once();
	OK(p11->C_Finalize(NULL));
	return 0;
}
