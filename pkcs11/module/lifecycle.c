/*
 * lifecycle.c: the connection to the token process, or to the agent in its place:
 * state, data sockets, round trips, forks. With fork.c and spawn.c the only
 * file that knows of processes.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "module.h"

#define POOL_SIZE 64     /* data sockets that carry no sign operation */
#define SOCKETS_MAX 1024 /* all data sockets */
#ifndef STOP_LIMIT
#define STOP_LIMIT 30 /* seconds that C_Finalize waits for calls in other threads */
#endif
/* linux/futex.h, which a compiler for musl need not have. */
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define FUTEX_PRIVATE 128
#define GATE_LIMIT 20000  /* milliseconds that a fork waits for the gate: a start takes long on a machine with much to do */
#define ADDRESS_SPACE 2048 /* MiB: with less, the token process may be unable to start */
#define REFUSAL_LIMIT 500 /* milliseconds between the end of a data socket and that of the control socket */

enum state { DOWN, CONNECTING, READY, LOST, ENDING };

enum place {
	LISTED,   /* among conns */
	OVERDUE,  /* its client has ended while a thread was in a call with it: that thread frees it */
	ABANDONED /* copied by a fork: nobody frees it */
};

struct conn {
	struct conn *next;
	struct descriptor socket;
	enum place place;
	bool idle, bound, greeted;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed; /* made by the first start, or with a copy */
static bool changed_made;
static enum state state = DOWN;
static unsigned generation; /* of what follows */
static struct descriptor control = {.fd = -1};
static pid_t token_child; /* for hosts that adopt orphans */
static bool agent;        /* it is an agent that answers, and no token process */
static struct conn *conns, *overdue;
static unsigned pooled, total, in_flight;
static bool answered; /* the token process has greeted on some data socket */

static bool handlers_registered;
static pthread_t fork_holder;
static bool fork_holds;

/*
 * The gate is closed while the far end of a pair is open here, and while a
 * socket is closed: a child must not get a copy that it does not know of. A
 * lock of our own, because a mutex knows no limit on a clock that nobody sets.
 */
static uint32_t gate; /* 0 open, 1 closed, 2 closed and somebody waits */
static uintptr_t gate_holder;

static bool gate_closed(void)
{
	__atomic_store_n(&gate_holder, (uintptr_t)pthread_self(), __ATOMIC_RELAXED);
	return true;
}

/* gate_close gives up at once in a signal handler that interrupted the holder, and else after GATE_LIMIT. */
static bool gate_close(void)
{
	uint32_t open = 0;
	if (__atomic_compare_exchange_n(&gate, &open, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return gate_closed();
	if (__atomic_load_n(&gate_holder, __ATOMIC_RELAXED) == (uintptr_t)pthread_self())
		return false;
	int64_t limit = now_ms() + GATE_LIMIT;
	while (__atomic_exchange_n(&gate, 2, __ATOMIC_ACQUIRE) != 0) {
		int64_t left = limit - now_ms();
		if (left <= 0)
			return false;
		struct timespec wait = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
		syscall(SYS_futex, &gate, FUTEX_WAIT | FUTEX_PRIVATE, 2, &wait, NULL, 0);
	}
	return gate_closed();
}

static void gate_open(bool closed)
{
	if (!closed)
		return;
	__atomic_store_n(&gate_holder, 0, __ATOMIC_RELAXED);
	if (__atomic_exchange_n(&gate, 0, __ATOMIC_RELEASE) == 2)
		syscall(SYS_futex, &gate, FUTEX_WAKE | FUTEX_PRIVATE, 1, NULL, NULL, 0);
}

void state_lock(void)
{
	pthread_mutex_lock(&lock);
}

void state_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

/* send_control sends one packet, with a descriptor unless it is -1. */
static bool send_control(const void *data, size_t size, int descriptor)
{
	struct iovec part = {.iov_base = (void *)data, .iov_len = size};
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} ancillary = {0};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (descriptor >= 0) {
		message.msg_control = ancillary.space;
		message.msg_controllen = sizeof ancillary.space;
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
	}
	/* The wait is ours, not the socket's: a host may have made it non-blocking. */
	for (int64_t limit = now_ms() + WIRE_SILENCE;;) {
		ssize_t sent = sendmsg(control.fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent >= 0)
			return sent == (ssize_t)size;
		int64_t left = limit - now_ms();
		if ((errno != EINTR && errno != EAGAIN) || left <= 0)
			return false;
		if (errno == EAGAIN)
			poll(&(struct pollfd){.fd = control.fd, .events = POLLOUT}, 1, (int)left);
	}
}

/* far_end is who answers, for messages. */
static const char *far_end(void)
{
	return agent ? "agent" : "token process";
}

static struct wire_hello hello(void)
{
	struct wire_hello out = {.magic = WIRE_MAGIC, .version = WIRE_VERSION, .ulong_size = sizeof(CK_ULONG)};
	memcpy(out.build_id, SIGNKIT_VERSION, sizeof SIGNKIT_VERSION);
	return out;
}

/* The state of the client. */

static void shut(struct descriptor *descriptor)
{
	if (is_ours(descriptor))
		shutdown(descriptor->fd, SHUT_RDWR);
}

/* shut_all wakes every thread that waits for an answer. The lock is held. */
static void shut_all(void)
{
	for (struct conn *conn = conns; conn != NULL; conn = conn->next)
		shut(&conn->socket);
	shut(&control);
}

/* control_open reports whether the token process is there. The lock is held. */
static bool control_open(void)
{
	char peek;
	return is_ours(&control) && recv(control.fd, &peek, sizeof peek, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

/*
 * explain_start is for a token process that ended before it greeted. It has
 * said why itself, but where memory is what it lacks: then its runtime's words
 * do not tell a person what to change.
 */
static void explain_start(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur >> 20 < ADDRESS_SPACE)
		complain("signkit: the token process could not start within the limit of %llu MiB of address space (ulimit -v): it needs %d MiB, nearly all of it only reserved",
			 (unsigned long long)limit.rlim_cur >> 20, ADDRESS_SPACE);
}

/* note_loss notes that the token process is gone or silent. The lock is held. */
static void note_loss(void)
{
	state = LOST;
	shut_all();
	pthread_cond_broadcast(&changed);
	if (!answered && !agent && is_ours(&control))
		explain_start();
}

/* hung_up tells a socket whose other end is closed from one that is silent. */
static bool hung_up(const struct conn *conn)
{
	char peek;
	ssize_t got = recv(conn->socket.fd, &peek, sizeof peek, MSG_PEEK | MSG_DONTWAIT);
	return got == 0 || (got < 0 && errno != EAGAIN);
}

/* explain_loss is for a person who sees "device error": what has written the other lines is gone. */
static void explain_loss(bool ended)
{
	static const char advice[] = "a signature that was asked for may have been made";
	if (ended)
		complain("signkit: the %s has ended during a call (was it killed, or is there too little memory?); %s", far_end(), advice);
	else
		complain("signkit: the %s has been silent for %d s; %s", far_end(), WIRE_SILENCE / 1000, advice);
}

/* lose notes that the token process does not answer any more, and says what the call returns. */
static CK_RV lose(const struct conn *conn)
{
	CK_RV rv = CKR_DEVICE_ERROR;
	bool ours = is_ours(&conn->socket), ended = ours && hung_up(conn), explain = false;
	pthread_mutex_lock(&lock);
	if (conn->place != LISTED) {
		rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	} else if (state == READY) {
		explain = answered && ours; /* else the host has closed the socket, or the start is what failed */
		note_loss();
	} else if (state != LOST) {
		rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	}
	pthread_mutex_unlock(&lock);
	if (explain)
		explain_loss(ended);
	return rv;
}

/*
 * close_for_good closes a socket that a fork cannot be copying meanwhile: the
 * kernel copies descriptors before memory, so a child could have the one and
 * no longer know of it.
 */
static void close_for_good(struct descriptor *descriptor)
{
	bool closed = gate_close();
	close_ours(descriptor);
	gate_open(closed);
}

/* close_all closes every socket and forgets it, but for those that a thread is still in a call with. The lock is held. */
static void close_all(void)
{
	operations_free();
	while (conns != NULL) {
		struct conn *conn = conns;
		if (conn->idle)
			close_for_good(&conn->socket);
		conns = conn->next;
		if (conn->idle) {
			free(conn);
			continue;
		}
		conn->place = OVERDUE;
		conn->next = overdue;
		overdue = conn;
	}
	close_for_good(&control);
	pooled = total = in_flight = 0;
	generation++;
}

bool overtaken(const struct visit *visit)
{
	return visit->generation != generation;
}

/* Forks. */

/* forked reports whether this is another process than the one whose memory it was: then nothing here may be used. */
static bool forked(void)
{
	return mark_process() != PROCESS_SAME;
}

/*
 * lent reports whether this is a vfork's child, whose memory must be left
 * alone. User-mode emulators mark no copies, so that any child looks like one:
 * handlers take those over, and before the first start nothing can be disturbed.
 */
static bool lent(void)
{
	return changed_made && mark_process() == PROCESS_LENT;
}

/* What a child left alone because nobody knows in which state the heap is; kept reachable for leak checkers. */
static struct conn *abandoned __attribute__((used));

static void abandon(struct conn **list)
{
	struct conn **end = list;
	while (*end != NULL) {
		close_ours(&(*end)->socket);
		(*end)->place = ABANDONED;
		end = &(*end)->next;
	}
	*end = abandoned;
	abandoned = *list;
	*list = NULL;
}

/* make_changed makes the waits independent of a clock that somebody sets. Nobody waits yet. */
static void make_changed(void)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &attributes);
	pthread_condattr_destroy(&attributes);
	changed_made = true;
}

/* become_new makes a forked child start afresh. Other threads of the child are kept out by the mark; nothing is freed. */
static void become_new(void)
{
	pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
	lock = fresh;
	gate = 0;
	gate_holder = 0;
	make_changed();
	abandon(&conns);
	abandon(&overdue);
	close_ours(&control);
	operations_abandon();
	pooled = total = in_flight = 0;
	generation++;
	token_child = 0;
	state = DOWN;
	fork_holds = false;
}

/* take_over makes a copy usable, in whichever of its threads comes first. */
static bool take_over(void)
{
	if (mark_claim()) {
		become_new();
		mark_claimed();
	}
	return !forked();
}

/*
 * fork takes the gate and not the lock of the state: a host's own handlers,
 * which run after this one, may wait for a thread that is in a call here.
 */
static void before_fork(void)
{
	if (forked())
		return;
	if (!gate_close())
		return; /* go on without it */
	fork_holder = pthread_self();
	fork_holds = true;
}

static void after_fork_in_parent(void)
{
	if (!fork_holds || !pthread_equal(fork_holder, pthread_self()))
		return;
	fork_holds = false;
	gate_open(true);
}

static void after_fork_in_child(void)
{
	if (forked())
		take_over();
}

/*
 * pthread_atfork is linked statically by glibc and exists in musl only, its
 * inner function exists in glibc only. Weak, so that one file loads in both.
 */
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *) __attribute__((weak));
extern int pthread_atfork(void (*)(void), void (*)(void), void (*)(void)) __attribute__((weak));
extern void *__dso_handle __attribute__((visibility("hidden")));

static bool register_fork_handlers(void)
{
	if (handlers_registered)
		return true;
	int failed = -1;
	if (__register_atfork != NULL)
		failed = __register_atfork(before_fork, after_fork_in_parent, after_fork_in_child, &__dso_handle);
	else if (pthread_atfork != NULL)
		failed = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	handlers_registered = failed == 0;
	return handlers_registered;
}

/*
 * The mark is made here, so that every child knows that it is one, whatever
 * its parent's other threads were doing: also in their first C_Initialize.
 *
 * musl lets a fork pass that began before the first handler was registered,
 * and its child then has sockets that nobody there knows of. glibc makes the
 * registration wait for that fork.
 */
__attribute__((constructor)) static void load(void)
{
	mark_make();
	if (__register_atfork == NULL)
		register_fork_handlers();
}

extern void __cxa_finalize(void *) __attribute__((weak));

/*
 * A host that unloads the module without C_Finalize leaves no descriptors, no
 * token process and no fork handlers behind. (Handlers go with
 * __cxa_finalize, which not every compiler's start files call.) This may also
 * be exit, with threads in calls.
 */
__attribute__((destructor)) static void unload(void)
{
	if (forked())
		return; /* a vfork child: the handlers are its parent's */
	if (__cxa_finalize != NULL)
		__cxa_finalize(&__dso_handle);
	if (pthread_mutex_trylock(&lock) != 0)
		return;
	if (state == READY || state == LOST) {
		shut_all();
		if (in_flight == 0)
			close_all();
		state = DOWN;
	}
	mark_unmap();
	pthread_mutex_unlock(&lock);
}

/* Start and stop. */

/* greet announces us, and passes our standard output on: the log may go there where a setting says so. */
static bool greet(void)
{
	struct wire_hello ours = hello();
	int out = fcntl(STDOUT_FILENO, F_GETFD) >= 0 ? STDOUT_FILENO : -1;
	return send_control(&ours, sizeof ours, out) || send_control(&ours, sizeof ours, -1);
}

/* readable makes the version of a greeting fit for a terminal. */
static const char *readable(struct wire_hello *theirs)
{
	char *at = theirs->build_id, *end = at + sizeof theirs->build_id - 1;
	for (; at < end && *at != '\0'; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	*at = '\0';
	return theirs->build_id;
}

/* same_version compares the other side's greeting with ours, and says what to do where they differ. */
static bool same_version(struct wire_hello *theirs)
{
	struct wire_hello ours = hello();
	if (memcmp(&ours, theirs, sizeof ours) == 0)
		return true;
	if (agent && theirs->magic != WIRE_MAGIC)
		complain("signkit: what SIGNKIT_AGENT names is no agent of signkit");
	else if (agent)
		complain("signkit: the agent is of version %s and this module of version %s: install both from one release",
			 readable(theirs), SIGNKIT_VERSION);
	else
		complain("signkit: this module (version %s) was given a token process of another version: install both files from one release",
			 SIGNKIT_VERSION);
	return false;
}

/* refused_by is for an agent that hangs up before it has greeted. */
static bool refused_by(const char *path)
{
	complain("signkit: the agent at %s (SIGNKIT_AGENT) refused this program; it serves its own user, and those that signkit agent --allow-uid names", path);
	return false;
}

/*
 * greet_agent passes our standard error on: what a person must know is then
 * where the program's own messages are. The agent answers with its greeting, or
 * hangs up.
 */
static bool greet_agent(const char *path)
{
	struct wire_hello ours = hello(), theirs;
	int err = fcntl(STDERR_FILENO, F_GETFD) >= 0 ? STDERR_FILENO : -1;
	if (!send_control(&ours, sizeof ours, err) && !send_control(&ours, sizeof ours, -1)) {
		if (errno == EPIPE || errno == ECONNRESET)
			return refused_by(path);
		complain("signkit: cannot greet the agent at %s (SIGNKIT_AGENT): %s", path, strerror(errno));
		return false;
	}
	if (receive_all(&control, &theirs, sizeof theirs))
		return same_version(&theirs);
	char peek;
	if (!is_ours(&control) || recv(control.fd, &peek, sizeof peek, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN)
		return refused_by(path);
	complain("signkit: the agent at %s (SIGNKIT_AGENT) has been silent for %d s", path, WIRE_SILENCE / 1000);
	return false;
}

/* start_with_agent begins and ends with the lock held, and does not hold it while it waits for the agent. */
static CK_RV start_with_agent(const char *path)
{
	struct sockaddr_un address;
	if (!agent_address(path, &address))
		return CKR_GENERAL_ERROR;
	bool closed = gate_close();
	bool made = socket_alone(SOCK_SEQPACKET, &control);
	int reason = errno;
	gate_open(closed);
	if (!made) {
		complain("signkit: cannot make a socket for the agent: %s", strerror(reason));
		return CKR_GENERAL_ERROR;
	}
	state = CONNECTING;
	pthread_mutex_unlock(&lock);
	bool connected = agent_connect(&control, &address) && greet_agent(address.sun_path);
	pthread_mutex_lock(&lock);
	if (!connected)
		close_for_good(&control);
	answered = connected;
	state = connected ? READY : DOWN;
	pthread_cond_broadcast(&changed);
	return connected ? CKR_OK : CKR_GENERAL_ERROR;
}

/* start begins and ends with the lock held. */
static CK_RV start(void)
{
	if (!changed_made)
		make_changed();
	if (!register_fork_handlers())
		return CKR_HOST_MEMORY;
	const char *path = agent_named();
	agent = path != NULL;
	if (agent)
		return start_with_agent(path);
	int theirs;
	bool closed = gate_close();
	if (!socket_pair(SOCK_SEQPACKET, &control, &theirs)) {
		gate_open(closed);
		complain("signkit: cannot make a socket for the token process: %s", strerror(errno));
		return CKR_GENERAL_ERROR;
	}
	bool started = spawn_token_process(theirs, &token_child);
	close(theirs);
	gate_open(closed);
	if (started && !greet()) {
		complain("signkit: cannot greet the token process: %s", strerror(errno));
		explain_start();
		started = false;
	}
	if (!started) {
		close_for_good(&control);
		return CKR_GENERAL_ERROR;
	}
	answered = false;
	state = READY;
	return CKR_OK;
}

/* wait_for_change waits for a broadcast, until `limit` (of now_ms) at most. The lock is held. */
static bool wait_for_change(int64_t limit)
{
	struct timespec at = {.tv_sec = limit / 1000, .tv_nsec = limit % 1000 * 1000000};
	return pthread_cond_timedwait(&changed, &lock, &at) == 0;
}

/* retire ends what was started: it waits for the calls in flight, for STOP_LIMIT at most. Begins and ends with the lock held. */
static void retire(void)
{
	pid_t child = state == READY && control_open() ? token_child : 0;
	state = ENDING; /* others wait for what follows */
	shut_all();
	pthread_cond_broadcast(&changed);
	int64_t limit = now_ms() + STOP_LIMIT * 1000;
	while (in_flight > 0 && wait_for_change(limit))
		;
	close_all();
	token_child = 0;
	pthread_mutex_unlock(&lock);
	reap(child);
	pthread_mutex_lock(&lock);
	state = DOWN;
	pthread_cond_broadcast(&changed);
}

static CK_RV start_or_restart(void)
{
	if (forked() && (lent() || !take_over()))
		return CKR_GENERAL_ERROR;
	pthread_mutex_lock(&lock);
	while (state == ENDING || state == CONNECTING)
		pthread_cond_wait(&changed, &lock);
	CK_RV rv = CKR_CRYPTOKI_ALREADY_INITIALIZED;
	if (state == LOST)
		retire();
	if (state == DOWN)
		rv = start();
	pthread_mutex_unlock(&lock);
	return rv;
}

static CK_RV stop_and_wait(void)
{
	if (forked())
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	pthread_mutex_lock(&lock);
	CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	if (state == READY || state == LOST) {
		retire();
		rv = CKR_OK;
	}
	pthread_mutex_unlock(&lock);
	return rv;
}

CK_RV client_start(void)
{
	int cancel;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	CK_RV rv = start_or_restart();
	pthread_setcancelstate(cancel, NULL);
	return rv;
}

CK_RV client_stop(void)
{
	int cancel;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	CK_RV rv = stop_and_wait();
	pthread_setcancelstate(cancel, NULL);
	return rv;
}

/* A host may cancel its threads; one that is in here must not vanish with the lock, or stay counted for ever. */
CK_RV call_enter(struct visit *visit)
{
	if (forked())
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &visit->cancel);
	CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	pthread_mutex_lock(&lock);
	visit->generation = generation;
	if (state == LOST)
		rv = CKR_DEVICE_ERROR;
	if (state == READY) {
		in_flight++;
		rv = CKR_OK;
	}
	pthread_mutex_unlock(&lock);
	if (rv != CKR_OK)
		pthread_setcancelstate(visit->cancel, NULL);
	return rv;
}

void call_leave(const struct visit *visit)
{
	pthread_mutex_lock(&lock);
	if (!overtaken(visit)) {
		in_flight--;
		pthread_cond_broadcast(&changed);
	}
	pthread_mutex_unlock(&lock);
	pthread_setcancelstate(visit->cancel, NULL);
}

/* Data sockets. */

static void unlink_conn(struct conn *conn)
{
	for (struct conn **at = conn->place == OVERDUE ? &overdue : &conns; *at != NULL; at = &(*at)->next)
		if (*at == conn) {
			*at = conn->next;
			break;
		}
	if (conn->place != LISTED)
		return;
	total--;
	if (!conn->bound)
		pooled--;
}

/* take_idle returns an idle socket that is still ours. The lock is held. */
static struct conn *take_idle(void)
{
	struct conn *conn = conns;
	while (conn != NULL) {
		struct conn *next = conn->next;
		if (conn->idle) {
			if (is_ours(&conn->socket)) {
				conn->idle = false;
				return conn;
			}
			unlink_conn(conn);
			free(conn);
		}
		conn = next;
	}
	return NULL;
}

/* make_conn opens a data socket. NULL: errno tells whether to wait for another one. The lock is held. */
static struct conn *make_conn(void)
{
	struct conn *conn = calloc(1, sizeof *conn);
	if (conn == NULL) {
		errno = ENOMEM; /* a host's own allocator need not say so */
		return NULL;
	}
	int theirs;
	bool closed = gate_close();
	if (!socket_pair(SOCK_STREAM, &conn->socket, &theirs)) {
		int saved = errno;
		gate_open(closed);
		free(conn);
		errno = saved;
		return NULL;
	}
	char kind = WIRE_DATA_SOCKET;
	bool sent = send_control(&kind, sizeof kind, theirs);
	int saved = errno;
	close(theirs);
	if (!sent) {
		close_ours(&conn->socket);
		gate_open(closed);
		free(conn);
		errno = saved;
		return NULL;
	}
	conn->next = conns;
	conns = conn;
	gate_open(closed);
	pooled++;
	total++;
	return conn;
}

static bool out_of_descriptors(int reason)
{
	return reason == EMFILE || reason == ENFILE || reason == ETOOMANYREFS || reason == EINVAL;
}

/* acquire begins and ends with the lock held. lost is why the token process cannot be reached any more, or 0. */
static CK_RV acquire(const struct visit *visit, struct conn **out, int *lost)
{
	for (;;) {
		if (state == LOST && !overtaken(visit))
			return CKR_DEVICE_ERROR;
		if (state != READY || overtaken(visit))
			return CKR_CRYPTOKI_NOT_INITIALIZED;
		if ((*out = take_idle()) != NULL)
			return CKR_OK;
		if (!is_ours(&control)) {
			note_loss();
			continue;
		}
		if (pooled < POOL_SIZE && total < SOCKETS_MAX) {
			if ((*out = make_conn()) != NULL)
				return CKR_OK;
			if (errno == ENOMEM || errno == ENOBUFS)
				return CKR_HOST_MEMORY;
			int reason = errno;
			if (!out_of_descriptors(reason)) {
				if (answered && is_ours(&control))
					*lost = reason;
				note_loss();
				continue;
			}
		}
		if (pooled == 0) /* nobody will give one back */
			return CKR_HOST_MEMORY;
		wait_for_change(now_ms() + 1000);
	}
}

CK_RV conn_acquire(const struct visit *visit, struct conn **out)
{
	int lost = 0;
	pthread_mutex_lock(&lock);
	CK_RV rv = acquire(visit, out, &lost);
	pthread_mutex_unlock(&lock);
	if (lost != 0)
		explain_loss(lost != EAGAIN);
	return rv;
}

/* drop closes and frees a socket. The lock is held. */
static void drop(struct conn *conn)
{
	if (conn->place == ABANDONED)
		return;
	close_for_good(&conn->socket);
	unlink_conn(conn);
	free(conn);
}

void conn_release(struct conn *conn)
{
	pthread_mutex_lock(&lock);
	if (conn->place != LISTED || (conn->bound && pooled >= POOL_SIZE))
		drop(conn);
	else
		conn_unbind(conn);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

void conn_bind(struct conn *conn)
{
	conn->bound = true;
	pooled--;
	pthread_cond_broadcast(&changed);
}

void conn_unbind(struct conn *conn)
{
	if (conn->bound)
		pooled++;
	conn->bound = false;
	conn->idle = true;
}

void conn_discard(struct conn *conn)
{
	pthread_mutex_lock(&lock);
	drop(conn);
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

/* Round trips. */

/*
 * refused tells a token process that refused this one socket, for want of
 * descriptors, from one that is gone: the end of a process closes its sockets
 * one after the other, so the control socket gets some time to follow.
 */
static bool refused(const struct conn *conn)
{
	pthread_mutex_lock(&lock);
	bool alive = conn->place == LISTED && state == READY && control_open();
	struct pollfd end = {.fd = control.fd, .events = POLLIN};
	pthread_mutex_unlock(&lock);
	for (int64_t limit = now_ms() + REFUSAL_LIMIT; alive && now_ms() < limit;)
		if (poll(&end, 1, (int)(limit - now_ms()) + 1) >= 0)
			break;
	pthread_mutex_lock(&lock);
	alive = alive && conn->place == LISTED && state == READY && control_open();
	pthread_mutex_unlock(&lock);
	return alive;
}

/* failed says what a call returns whose socket failed: before the greeting it may be that this one was refused. */
static CK_RV failed(const struct conn *conn)
{
	return !conn->greeted && hung_up(conn) && refused(conn) ? CKR_HOST_MEMORY : lose(conn);
}

CK_RV conn_send(struct conn *conn, uint32_t call, uint64_t handle, uint64_t number, struct span a, struct span b)
{
	struct wire_request request = {.call = call, .length = (uint32_t)(a.length + b.length), .handle = handle, .number = number};
	struct iovec parts[3] = {
		{.iov_base = &request, .iov_len = sizeof request},
		{.iov_base = (void *)a.data, .iov_len = a.length},
		{.iov_base = (void *)b.data, .iov_len = b.length},
	};
	if (!is_ours(&conn->socket))
		return CKR_DEVICE_ERROR;
	if (!send_all(&conn->socket, parts, 3))
		return failed(conn);
	return CKR_OK;
}

/* read_hello checks who is at the other end, once per socket. */
static bool read_hello(struct conn *conn)
{
	if (conn->greeted)
		return true;
	struct wire_hello theirs;
	if (!receive_all(&conn->socket, &theirs, sizeof theirs))
		return false;
	conn->greeted = true;
	pthread_mutex_lock(&lock);
	answered = true;
	pthread_mutex_unlock(&lock);
	return same_version(&theirs);
}

/* read_answer reads headers until one is the answer. */
static bool read_answer(struct conn *conn, struct wire_reply *header)
{
	do {
		if (!receive_all(&conn->socket, header, sizeof *header))
			return false;
		if (header->kind == WIRE_WORKING && header->length != 0)
			return false;
	} while (header->kind == WIRE_WORKING);
	return header->kind == WIRE_ANSWER && header->length <= WIRE_MAX_PAYLOAD;
}

static void reply_clear(struct reply *reply)
{
	reply->payload = reply->small;
	reply->value = reply->length = 0;
}

void reply_free(struct reply *reply)
{
	if (reply->payload != reply->small)
		free(reply->payload);
	reply_clear(reply);
}

CK_RV conn_receive(struct conn *conn, struct reply *reply)
{
	reply_clear(reply);
	struct wire_reply header;
	if (!is_ours(&conn->socket))
		return CKR_DEVICE_ERROR;
	if (!read_hello(conn))
		return failed(conn);
	if (!read_answer(conn, &header))
		return lose(conn);
	if (header.length > sizeof reply->small) {
		unsigned char *payload = malloc(header.length);
		if (payload == NULL)
			return CKR_HOST_MEMORY;
		reply->payload = payload;
	}
	if (!receive_all(&conn->socket, reply->payload, header.length)) {
		reply_free(reply);
		return lose(conn);
	}
	reply->rv = (CK_RV)header.rv;
	reply->value = header.value;
	reply->length = header.length;
	return CKR_OK;
}

bool conn_answered(struct conn *conn)
{
	size_t skip = conn->greeted ? 0 : sizeof(struct wire_hello);
	char peek[sizeof(struct wire_hello) + 1];
	if (!is_ours(&conn->socket))
		return true;
	struct iovec part = {.iov_base = peek, .iov_len = skip + 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t got = recvmsg(conn->socket.fd, &message, MSG_PEEK | MSG_DONTWAIT);
	return got == 0 || got > (ssize_t)skip;
}

CK_RV transact(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, struct span payload, struct reply *reply)
{
	struct conn *conn;
	reply_clear(reply);
	if (payload.length > WIRE_MAX_PAYLOAD)
		return CKR_ARGUMENTS_BAD;
	CK_RV rv = conn_acquire(visit, &conn);
	if (rv != CKR_OK)
		return rv;
	rv = conn_send(conn, call, handle, number, payload, (struct span){0});
	if (rv == CKR_OK)
		rv = conn_receive(conn, reply);
	if (rv != CKR_OK) {
		conn_discard(conn);
		return rv;
	}
	conn_release(conn);
	return reply->rv;
}

CK_RV transact_fixed(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, void *out, size_t size)
{
	struct reply reply;
	CK_RV rv = transact(visit, call, handle, number, (struct span){0}, &reply);
	if (rv == CKR_OK) {
		if (reply.length != size)
			rv = CKR_DEVICE_ERROR;
		else if (size > 0)
			memcpy(out, reply.payload, size);
	}
	reply_free(&reply);
	return rv;
}

CK_RV check_session(const struct visit *visit, CK_SESSION_HANDLE session)
{
	struct reply reply;
	CK_RV rv = transact(visit, WIRE_CHECK_SESSION, session, 0, (struct span){0}, &reply);
	reply_free(&reply);
	return rv;
}
