/*
 * spawn.c: finding and starting the token process.
 *
 * The process must not be a child that the host's own wait calls or SIGCHLD
 * handler can see, and starting it must be cheap in a host of any size. So two
 * clones share the host's memory: the first (exit signal 0) makes the second
 * and ends at once; the second executes the program. Between clone and exec
 * only raw system calls are made.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "socket.h"
#include "spawn.h"
#include "wire.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

#define PROGRAM "signkit-tokend"
#define STACK_SIZE (64 * 1024)
#define SIGNALS 64
#define VERDICT_LIMIT 1000 /* milliseconds */
#define REAP_LIMIT 1000    /* milliseconds */
#define ADDRESS_SPACE 2048 /* MiB: with less, the token process may be unable to start */

extern char **environ;

/* The environment: settings and what the CI system says of the job, nothing else. */

static const char *const allowed_prefixes[] = {"SIGNPATH_", "SIGNKIT_", NULL};
static const char *const allowed_names[] = {
	"http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
	"HOME", "PATH", "TMPDIR", "LANG", "TZ",
	"CI_JOB_URL", "CI_COMMIT_SHA",
	"GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_SHA",
	"BUILD_URL", "GIT_COMMIT",
	"SYSTEM_COLLECTIONURI", "SYSTEM_TEAMPROJECT", "BUILD_BUILDID", "BUILD_SOURCEVERSION",
	NULL,
};

static bool environment_allows(const char *entry)
{
	for (const char *const *prefix = allowed_prefixes; *prefix != NULL; prefix++)
		if (strncmp(entry, *prefix, strlen(*prefix)) == 0)
			return true;
	for (const char *const *name = allowed_names; *name != NULL; name++) {
		size_t length = strlen(*name);
		if (strncmp(entry, *name, length) == 0 && entry[length] == '=')
			return true;
	}
	return false;
}

/* token_environment returns a malloc'ed list of pointers into environ, empty under AT_SECURE. */
static char **token_environment(bool secure)
{
	size_t count = 0;
	if (!secure && environ != NULL)
		while (environ[count] != NULL)
			count++;
	char **list = calloc(count + 1, sizeof *list);
	if (list == NULL)
		return NULL;
	size_t kept = 0;
	for (size_t i = 0; i < count; i++)
		if (environ[i] != NULL && environment_allows(environ[i]))
			list[kept++] = environ[i];
	return list;
}

/* Where the program is. */

static bool beside_module(char path[PATH_MAX])
{
	Dl_info info;
	if (dladdr((void *)(uintptr_t)complain, &info) == 0 || info.dli_fname == NULL)
		return false;
	if (realpath(info.dli_fname, path) == NULL)
		return false;
	char *slash = strrchr(path, '/');
	if (slash == NULL || slash + 1 + sizeof PROGRAM > path + PATH_MAX)
		return false;
	memcpy(slash + 1, PROGRAM, sizeof PROGRAM);
	return access(path, F_OK) == 0;
}

/* One buffer for all attempts: a thread of the host may have a stack of 16 KiB. */
static void find_program(bool secure, char path[PATH_MAX])
{
	static const char installed[] = SIGNKIT_LIBRARY_DIR "/" PROGRAM;
	_Static_assert(sizeof installed < PATH_MAX, "a path");
	const char *named = secure ? NULL : secure_getenv("SIGNKIT_TOKEND");
	if (named != NULL && *named != '\0' && strlen(named) < PATH_MAX)
		memcpy(path, named, strlen(named) + 1);
	else if (secure || !beside_module(path))
		memcpy(path, installed, sizeof installed);
}

/* The two clones. */

struct start {
	const char *path;
	char *const *argv;
	char *const *envp;
	int control;
	int verdict; /* written: errno of what failed; closed by exec */
	char *leaf_stack;
	volatile pid_t middle, child; /* both clones as the first one sees them, where memory really is shared (not under an emulator) */
};

struct kernel_sigaction {
	void *handler;
	unsigned long flags;
	void *restorer;
	unsigned long mask;
};

static void fail(int verdict) __attribute__((noreturn));
static void fail(int verdict)
{
	int32_t reason = errno;
	syscall(SYS_write, verdict, &reason, sizeof reason);
	for (;;)
		syscall(SYS_exit_group, 1);
}

static int raw_dup_above(int fd, int lowest, int command)
{
	return (int)syscall(SYS_fcntl, fd, command, lowest);
}

static int leaf(void *argument)
{
	struct start *start = argument;
	int verdict = raw_dup_above(start->verdict, 5, F_DUPFD_CLOEXEC);
	int control = raw_dup_above(start->control, 5, F_DUPFD);
	if (verdict < 0 || control < 0)
		fail(verdict < 0 ? start->verdict : verdict);

	struct kernel_sigaction standard = {0};
	for (int number = 1; number <= SIGNALS; number++)
		syscall(SYS_rt_sigaction, number, &standard, NULL, sizeof standard.mask);
	syscall(SYS_setsid);

	int null = (int)syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
	for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
		if (fd != STDERR_FILENO || syscall(SYS_fcntl, fd, F_GETFD) < 0)
			syscall(SYS_dup3, null, fd, 0);

	if (syscall(SYS_dup3, control, WIRE_CONTROL_FD, 0) < 0 || syscall(SYS_dup3, verdict, 4, O_CLOEXEC) < 0)
		fail(verdict);
	/* Older kernels lack this call; the token process then closes what it inherited. */
	syscall(SYS_close_range, 5, ~0U, 0);

	unsigned long none = 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
	syscall(SYS_execve, start->path, start->argv, start->envp);
	fail(4);
}

static int middle(void *argument)
{
	struct start *start = argument;
	start->middle = (pid_t)syscall(SYS_getpid);
	start->child = clone(leaf, start->leaf_stack + STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, start);
	if (start->child < 0)
		fail(start->verdict);
	for (;;)
		syscall(SYS_exit_group, 0);
}

/* guarded_stacks maps two stacks, each above a page that traps; NULL if there is no memory. */
static char *guarded_stacks(size_t *size, size_t page)
{
	*size = 2 * (page + STACK_SIZE);
	char *memory = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	mprotect(memory, page, PROT_NONE);
	mprotect(memory + page + STACK_SIZE, page, PROT_NONE);
	return memory;
}

/* clone_twice returns 0, or the errno of what kept the first clone from being made. */
static int clone_twice(struct start *start)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
	char *stacks = guarded_stacks(&size, page);
	if (stacks == NULL)
		return ENOMEM;
	char *middle_stack = stacks + page;
	start->leaf_stack = stacks + page + STACK_SIZE + page;

	int flags = CLONE_VM | CLONE_VFORK;
	pid_t child = clone(middle, middle_stack + STACK_SIZE, flags, start);
	if (child < 0 && errno == EINVAL) /* user-mode emulation knows no clone without a signal */
		child = clone(middle, middle_stack + STACK_SIZE, flags | SIGCHLD, start);
	int reason = child < 0 ? errno : 0;
	if (start->middle != child)
		start->child = 0; /* a number of another namespace */
	if (child > 0)
		while (waitpid(child, NULL, __WALL) < 0 && errno == EINTR)
			;
	munmap(stacks, size);
	return reason;
}

/*
 * read_verdict returns 0 when the exec happened (end of file), else the errno
 * that was sent. It is there when clone returns, but for emulators; silence
 * means that a child forked meanwhile holds the pipe, so the exec happened.
 */
static int read_verdict(int fd)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	int ready;
	do
		ready = poll(&wait, 1, VERDICT_LIMIT);
	while (ready < 0 && errno == EINTR);
	if (ready <= 0)
		return ready == 0 ? 0 : errno;
	int32_t reason = 0;
	ssize_t length;
	do
		length = read(fd, &reason, sizeof reason);
	while (length < 0 && errno == EINTR);
	return length == (ssize_t)sizeof reason ? reason : 0;
}

/* run does what must not be interrupted: no signal handler and no cancellation in between. */
static int run(struct start *start)
{
	int verdict[2];
	if (pipe2(verdict, O_CLOEXEC) < 0)
		return errno;
	for (int i = 0; i < 2; i++) /* a host without 0 to 2 must not print into it */
		verdict[i] = descriptor_above(verdict[i]);
	if (verdict[0] < 0 || verdict[1] < 0) {
		int reason = errno;
		close(verdict[0]);
		close(verdict[1]);
		return reason;
	}
	start->verdict = verdict[1];

	int cancel_state;
	unsigned long all = ~0UL, mask;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &mask, sizeof all);
	int reason = clone_twice(start);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof mask);
	close(verdict[1]);
	if (reason == 0)
		reason = read_verdict(verdict[0]);
	pthread_setcancelstate(cancel_state, NULL);
	close(verdict[0]);
	return reason;
}

/*
 * first_of_namespace reports whether this thread's next child would be the
 * first process of a new PID namespace: the host called
 * unshare(CLONE_NEWPID) and did not fork yet. That child would be ours, end at
 * once, and take the namespace with it: the host could never fork again. The
 * kernel (from 4.12 on) then has the link's name and no target.
 */
static bool first_of_namespace(void)
{
	static const char link[] = "/proc/thread-self/ns/pid_for_children";
	char target[64];
	struct stat status;
	return readlink(link, target, sizeof target) < 0 && errno == ENOENT &&
	       syscall(SYS_newfstatat, AT_FDCWD, link, &status, AT_SYMLINK_NOFOLLOW) == 0;
}

bool spawn_token_process(int control, pid_t *child)
{
	int saved = errno;
	bool secure = getauxval(AT_SECURE) != 0;
	char path[PATH_MAX];
	*child = 0;
	if (first_of_namespace()) {
		complain("signkit: cannot start the token process: this program called unshare(CLONE_NEWPID), and its next child is to be the first "
			 "process of the new namespace; call C_Initialize before that, or in that child");
		errno = saved;
		return false;
	}
	find_program(secure, path);
	char **environment = token_environment(secure);
	if (environment == NULL) {
		complain("signkit: cannot start %s: no memory", path);
		errno = saved;
		return false;
	}
	char name[] = PROGRAM;
	char *arguments[] = {name, NULL};
	struct start start = {.path = path, .argv = arguments, .envp = environment, .control = control};
	int reason = run(&start);
	*child = reason == 0 && start.child > 0 ? start.child : 0;
	free(environment);
	if (reason != 0)
		complain("signkit: cannot start the token process %s: %s%s", path, strerror(reason),
			 reason == ENOENT ? " (it belongs beside the module or there; SIGNKIT_TOKEND names another place)" : "");
	errno = saved;
	return reason == 0;
}

/*
 * The process has
 * said why itself, but where memory is what it lacks: then its runtime's words
 * do not tell a person what to change.
 */
void spawn_explain_limits(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur >> 20 < ADDRESS_SPACE)
		complain("signkit: the token process could not start within the limit of %llu MiB of address space (ulimit -v): it needs %d MiB, nearly all of it only reserved",
			 (unsigned long long)limit.rlim_cur >> 20, ADDRESS_SPACE);
}

void reap_token_process(pid_t child)
{
	struct timespec moment = {.tv_nsec = 1000000};
	int saved = errno;
	for (int waited = 0; waited < REAP_LIMIT && child > 0; waited++) {
		if (waitpid(child, NULL, WNOHANG) != 0)
			break; /* ended, or (in nearly every host) ECHILD */
		nanosleep(&moment, NULL);
	}
	errno = saved;
}
