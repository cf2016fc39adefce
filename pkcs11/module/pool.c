/*
 * pool.c: what the threads of a process share: the control socket, and the data
 * sockets that calls take from it and give back.
 */
#define _GNU_SOURCE
#include <errno.h>
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
		descriptor_shut(&socket->descriptor);
	descriptor_shut(&pool.control);
}

bool pool_reachable(void)
{
	char peek;
	return descriptor_is_ours(&pool.control) && recv(pool.control.fd, &peek, sizeof peek, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void pool_lose(void)
{
	pool.state = LOST;
	pool_shut();
	pthread_cond_broadcast(&pool.changed);
	if (!pool.answered && !pool.agent && descriptor_is_ours(&pool.control))
		spawn_explain_limits();
}

/* far_end is who answers, for messages. */
static const char *far_end(void)
{
	return pool.agent ? "agent" : "token process";
}

void pool_explain_loss(bool ended)
{
	static const char advice[] = "a signature that was asked for may have been made";
	if (ended)
		complain("signkit: the %s has ended during a call (was it killed, or is there too little memory?); %s", far_end(), advice);
	else
		complain("signkit: the %s has been silent for %d s; %s", far_end(), WIRE_SILENCE / 1000, advice);
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
		if (socket->use != BUSY)
			close_for_good(&socket->descriptor);
		pool.sockets = socket->next;
		if (socket->use != BUSY) {
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

/* socket_make opens a data socket. NULL: errno tells whether to wait for another one. The lock is held. */
static struct data_socket *socket_make(void)
{
	struct data_socket *socket = calloc(1, sizeof *socket);
	if (socket == NULL) {
		errno = ENOMEM; /* a host's own allocator need not say so */
		return NULL;
	}
	int theirs;
	bool closed = gate_close();
	if (!descriptor_pair(SOCK_STREAM, &socket->descriptor, &theirs)) {
		int saved = errno;
		gate_open(closed);
		free(socket);
		errno = saved;
		return NULL;
	}
	char kind = WIRE_DATA_SOCKET;
	bool sent = descriptor_send_packet(&pool.control, &kind, sizeof kind, theirs);
	int saved = errno;
	close(theirs);
	if (!sent) {
		descriptor_close(&socket->descriptor);
		gate_open(closed);
		free(socket);
		errno = saved;
		return NULL;
	}
	socket->next = pool.sockets;
	pool.sockets = socket;
	gate_open(closed);
	pool.pooled++;
	pool.total++;
	return socket;
}

static bool out_of_descriptors(int reason)
{
	return reason == EMFILE || reason == ENFILE || reason == ETOOMANYREFS || reason == EINVAL;
}

/* acquire begins and ends with the lock held. lost is why the token process cannot be reached any more, or 0. */
static CK_RV acquire(const struct visit *visit, struct data_socket **out, int *lost)
{
	for (;;) {
		if (pool.state == LOST && !pool_overtaken(visit))
			return CKR_DEVICE_ERROR;
		if (pool.state != READY || pool_overtaken(visit))
			return CKR_CRYPTOKI_NOT_INITIALIZED;
		if ((*out = socket_take_idle()) != NULL)
			return CKR_OK;
		if (!descriptor_is_ours(&pool.control)) {
			pool_lose();
			continue;
		}
		if (pool.pooled < POOL_SIZE && pool.total < SOCKETS_MAX) {
			if ((*out = socket_make()) != NULL)
				return CKR_OK;
			if (errno == ENOMEM || errno == ENOBUFS)
				return CKR_HOST_MEMORY;
			int reason = errno;
			if (!out_of_descriptors(reason)) {
				if (pool.answered && descriptor_is_ours(&pool.control))
					*lost = reason;
				pool_lose();
				continue;
			}
		}
		if (pool.pooled == 0) /* nobody will give one back */
			return CKR_HOST_MEMORY;
		pool_wait(now_ms() + 1000);
	}
}

CK_RV socket_acquire(const struct visit *visit, struct data_socket **out)
{
	int lost = 0;
	pool_lock();
	CK_RV rv = acquire(visit, out, &lost);
	pool_unlock();
	if (lost != 0)
		pool_explain_loss(lost != EAGAIN);
	return rv;
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
