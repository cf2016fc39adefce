/*
 * pool.c: what the threads of a process share: the control socket, and the data
 * sockets that calls take from it and give back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "console.h"
#include "fork.h"
#include "pool.h"
#include "spawn.h"
#include "wire.h"

#define POOL_SIZE 64     /* data sockets that carry no sign operation */
#define SOCKETS_MAX 1024 /* all data sockets */

struct pool pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .control = {.fd = -1}};

void pool_lock(void)
{
	pthread_mutex_lock(&pool.lock);
}

void pool_unlock(void)
{
	pthread_mutex_unlock(&pool.lock);
}

void pool_make_changed(void)
{
	pthread_condattr_t attributes;
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&pool.changed, &attributes);
	pthread_condattr_destroy(&attributes);
	pool.changed_made = true;
}

bool pool_wait(int64_t limit)
{
	struct timespec at = {.tv_sec = limit / 1000, .tv_nsec = limit % 1000 * 1000000};
	return pthread_cond_timedwait(&pool.changed, &pool.lock, &at) == 0;
}

void pool_shut(void)
{
	for (struct data_socket *socket = pool.sockets; socket != NULL; socket = socket->next)
		if (socket->use != OPENING) /* else the control socket is what its thread waits for */
			descriptor_shut(&socket->descriptor);
	descriptor_shut(&pool.control);
}

bool pool_reachable(void)
{
	char peek;
	return descriptor_is_ours(&pool.control) && recv(pool.control.fd, &peek, sizeof peek, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

enum loss pool_lose(enum loss seen)
{
	bool in_start = !pool.answered && !pool.agent && descriptor_is_ours(&pool.control);
	pool.state = LOST;
	pool_shut();
	pthread_cond_broadcast(&pool.changed);
	if (in_start)
		return LOSS_IN_START;
	return pool.answered ? seen : LOSS_TOLD;
}

void pool_explain(enum loss loss)
{
	static const char advice[] = "a signature that was asked for may have been made";
	const char *far_end = pool.agent ? "agent" : "token process";
	switch (loss) {
	case LOSS_TOLD:
		break;
	case LOSS_IN_START:
		spawn_explain_limits();
		break;
	case LOSS_ENDED:
		complain("signkit: the %s has ended during a call (was it killed, or is there too little memory?); %s", far_end, advice);
		break;
	case LOSS_SILENT:
		complain("signkit: the %s has been silent for %d s; %s", far_end, WIRE_SILENCE / 1000, advice);
		break;
	}
}

/*
 * close_for_good closes a socket that a fork cannot be copying meanwhile: the
 * kernel copies descriptors before memory, so a child could have the one and
 * no longer know of it.
 */
static void close_for_good(struct descriptor *descriptor)
{
	bool closed = gate_close();
	descriptor_close(descriptor);
	gate_open(closed);
}

static void operation_free(struct operation *operation)
{
	if (operation != NULL)
		free(operation->buffer);
	free(operation);
}

static void socket_free(struct data_socket *socket)
{
	operation_free(socket->operation);
	free(socket);
}

void pool_close_control(void)
{
	close_for_good(&pool.control);
}

void pool_close(void)
{
	while (pool.sockets != NULL) {
		struct data_socket *socket = pool.sockets;
		bool mine = socket->use == IDLE || socket->use == WAITING;
		if (mine)
			close_for_good(&socket->descriptor);
		pool.sockets = socket->next;
		if (mine) {
			socket_free(socket);
			continue;
		}
		socket->place = OVERDUE;
		socket->next = pool.overdue;
		pool.overdue = socket;
	}
	close_for_good(&pool.control);
	pool.pooled = pool.total = pool.in_flight = 0;
	pool.generation++;
}

bool pool_overtaken(const struct visit *visit)
{
	return visit->generation != pool.generation;
}

/* What a child left alone because nobody knows in which state the heap is; kept reachable for leak checkers. */
static struct data_socket *abandoned __attribute__((used));

static void abandon(struct data_socket **list)
{
	struct data_socket **end = list;
	while (*end != NULL) {
		descriptor_close(&(*end)->descriptor);
		(*end)->place = ABANDONED;
		end = &(*end)->next;
	}
	*end = abandoned;
	abandoned = *list;
	*list = NULL;
}

void pool_abandon(void)
{
	pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
	pool.lock = fresh;
	pool_make_changed();
	abandon(&pool.sockets);
	abandon(&pool.overdue);
	descriptor_close(&pool.control);
	pool.pooled = pool.total = pool.in_flight = 0;
	pool.generation++;
	pool.state = DOWN;
}

/* Data sockets. */

static void socket_unlink(struct data_socket *socket)
{
	for (struct data_socket **at = socket->place == OVERDUE ? &pool.overdue : &pool.sockets; *at != NULL; at = &(*at)->next)
		if (*at == socket) {
			*at = socket->next;
			break;
		}
	if (socket->place != LISTED)
		return;
	pool.total--;
	if (socket->operation == NULL)
		pool.pooled--;
}

/* socket_take_idle returns an idle socket that is still ours. The lock is held. */
static struct data_socket *socket_take_idle(void)
{
	struct data_socket *socket = pool.sockets;
	while (socket != NULL) {
		struct data_socket *next = socket->next;
		if (socket->use == IDLE) {
			if (descriptor_is_ours(&socket->descriptor)) {
				socket->use = BUSY;
				return socket;
			}
			socket_unlink(socket);
			socket_free(socket);
		}
		socket = next;
	}
	return NULL;
}

/* socket_close closes and frees a socket that no other thread is in a call with. The lock is held. */
static void socket_close(struct data_socket *socket)
{
	if (socket->place == ABANDONED)
		return;
	close_for_good(&socket->descriptor);
	socket_unlink(socket);
	socket_free(socket);
}

/* socket_reserve puts a socket that is to be opened among the others. NULL: no memory. The lock is held. */
static struct data_socket *socket_reserve(void)
{
	struct data_socket *socket = calloc(1, sizeof *socket);
	if (socket == NULL)
		return NULL;
	socket->use = OPENING;
	socket->descriptor.fd = -1;
	socket->next = pool.sockets;
	pool.sockets = socket;
	pool.pooled++;
	pool.total++;
	return socket;
}

/*
 * socket_offer makes a pair and sends the far end, which is open here with the
 * gate closed, and so not while it waits. It returns 0, or the errno of what failed.
 */
static int socket_offer(struct data_socket *socket, const struct descriptor *control)
{
	int theirs, reason = 0;
	char kind = WIRE_DATA_SOCKET;
	bool closed = gate_close();
	if (!descriptor_pair(SOCK_STREAM, &socket->descriptor, &theirs)) {
		reason = errno;
		socket->descriptor.fd = -1;
	} else {
		if (!descriptor_try_packet(control, &kind, sizeof kind, theirs))
			reason = errno;
		close(theirs);
		if (reason != 0)
			descriptor_close(&socket->descriptor);
	}
	gate_open(closed);
	return reason;
}

/* socket_open opens a reserved socket. It returns 0, or the errno of what failed; EAGAIN is the other side's silence. The lock is not held. */
static int socket_open(struct data_socket *socket, const struct descriptor *control)
{
	int64_t waited = 0;
	for (;;) {
		int64_t began = now_ms();
		int reason = socket_offer(socket, control);
		if (reason == 0 || !descriptor_wait(control, POLLOUT, reason, began, &waited))
			return reason;
	}
}

static bool out_of_descriptors(int reason)
{
	return reason == EMFILE || reason == ENFILE || reason == ETOOMANYREFS || reason == EINVAL;
}

/*
 * socket_add makes one more socket, for which there is a place. It returns 0, or
 * the errno of what failed. The lock is held before and after, but not while the
 * other side may keep this waiting: whatever it guards may have changed.
 */
static int socket_add(struct data_socket **out)
{
	struct data_socket *socket = socket_reserve();
	if (socket == NULL)
		return ENOMEM; /* a host's own allocator need not set errno */
	struct descriptor control = pool.control;
	pool_unlock();
	int reason = socket_open(socket, &control);
	pool_lock();
	if (reason == 0 && socket->place == LISTED && pool.state == READY) {
		socket->use = BUSY;
		*out = socket;
		return 0;
	}
	socket_close(socket);
	pthread_cond_broadcast(&pool.changed);
	return reason;
}

/* acquire begins and ends with the lock held. */
static CK_RV acquire(const struct visit *visit, struct data_socket **out, enum loss *loss)
{
	for (*out = NULL; *out == NULL;) {
		if (pool.state == LOST && !pool_overtaken(visit))
			return CKR_DEVICE_ERROR;
		if (pool.state != READY || pool_overtaken(visit))
			return CKR_CRYPTOKI_NOT_INITIALIZED;
		if ((*out = socket_take_idle()) != NULL)
			break;
		if (!descriptor_is_ours(&pool.control)) {
			*loss = pool_lose(LOSS_TOLD);
			continue;
		}
		if (pool.pooled < POOL_SIZE && pool.total < SOCKETS_MAX) {
			int reason = socket_add(out);
			if (reason == ENOMEM || reason == ENOBUFS)
				return CKR_HOST_MEMORY;
			if (reason == 0 || pool.state != READY || pool_overtaken(visit))
				continue;
			if (!out_of_descriptors(reason)) {
				enum loss seen = reason == EAGAIN ? LOSS_SILENT : LOSS_ENDED;
				*loss = pool_lose(descriptor_is_ours(&pool.control) ? seen : LOSS_TOLD);
				continue;
			}
		}
		if (pool.pooled == 0) /* nobody will give one back */
			return CKR_HOST_MEMORY;
		pool_wait(now_ms() + 1000);
	}
	return CKR_OK;
}

CK_RV socket_acquire(const struct visit *visit, struct data_socket **out)
{
	enum loss loss = LOSS_TOLD;
	pool_lock();
	CK_RV rv = acquire(visit, out, &loss);
	pool_unlock();
	pool_explain(loss);
	return rv;
}

void socket_release(struct data_socket *socket)
{
	pool_lock();
	if (socket->place != LISTED || (socket->operation != NULL && pool.pooled >= POOL_SIZE)) {
		socket_close(socket);
	} else {
		if (socket->operation != NULL)
			pool.pooled++;
		operation_free(socket->operation);
		socket->operation = NULL;
		socket->use = IDLE;
	}
	pthread_cond_broadcast(&pool.changed);
	pool_unlock();
}

void socket_discard(struct data_socket *socket)
{
	pool_lock();
	socket_close(socket);
	pthread_cond_broadcast(&pool.changed);
	pool_unlock();
}

/* Sign operations. */

CK_RV socket_bind(const struct visit *visit, struct data_socket *socket, struct operation *operation)
{
	pool_lock();
	bool late = pool_overtaken(visit);
	if (!late) {
		socket->operation = operation;
		socket->use = WAITING;
		pool.pooled--;
		pthread_cond_broadcast(&pool.changed);
	}
	pool_unlock();
	return late ? CKR_CRYPTOKI_NOT_INITIALIZED : CKR_OK;
}

/* find_bound returns the socket of a session's operation, or NULL. The lock is held. */
static struct data_socket *find_bound(CK_SESSION_HANDLE session)
{
	struct data_socket *socket = pool.sockets;
	while (socket != NULL && !(socket->operation != NULL && socket->operation->session == session))
		socket = socket->next;
	return socket;
}

bool socket_bound(CK_SESSION_HANDLE session)
{
	pool_lock();
	bool found = find_bound(session) != NULL;
	pool_unlock();
	return found;
}

struct data_socket *socket_resume(const struct visit *visit, CK_SESSION_HANDLE session)
{
	pool_lock();
	struct data_socket *socket = find_bound(session);
	if (socket != NULL && (socket->use == BUSY || pool_overtaken(visit)))
		socket = NULL; /* another thread is ending it */
	if (socket != NULL)
		socket->use = BUSY;
	pool_unlock();
	return socket;
}

bool socket_pause(struct data_socket *socket)
{
	pool_lock();
	bool ended = socket->operation->ended || socket->place != LISTED;
	if (!ended)
		socket->use = WAITING;
	pool_unlock();
	return !ended;
}

void socket_end_operations(const struct visit *visit, CK_SESSION_HANDLE session)
{
	pool_lock();
	for (struct data_socket *socket = pool.sockets, *next; socket != NULL && !pool_overtaken(visit); socket = next) {
		next = socket->next;
		if (socket->operation == NULL || (session != 0 && socket->operation->session != session))
			continue;
		if (socket->use == BUSY)
			socket->operation->ended = true;
		else
			socket_close(socket);
	}
	pthread_cond_broadcast(&pool.changed);
	pool_unlock();
}
