/*
 * lifecycle.c: starting and ending, once per process, and the stay of each thread
 * in between.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connect.h"
#include "console.h"
#include "fork.h"
#include "lifecycle.h"
#include "spawn.h"

#ifndef STOP_LIMIT
#define STOP_LIMIT 30 /* seconds that C_Finalize waits for calls in other threads */
#endif

static pid_t token_child; /* for hosts that adopt orphans */

/*
 * lent reports whether this is a vfork's child, whose memory must be left
 * alone. User-mode emulators mark no copies, so that any child looks like one:
 * handlers take those over, and before the first start nothing can be disturbed.
 */
static bool lent(void)
{
	return pool.changed_made && process_now() == PROCESS_LENT;
}

/* start_afresh is for a forked child, before anything else in it. */
static void start_afresh(void)
{
	pool_abandon();
	token_child = 0;
}

__attribute__((constructor)) static void load(void)
{
	fork_load(start_afresh);
}

/*
 * A host that unloads the module without C_Finalize leaves no descriptors, no
 * token process and no fork handlers behind. This may also be exit, with
 * threads in calls.
 */
__attribute__((destructor)) static void unload(void)
{
	if (process_is_copy())
		return; /* a vfork child: the handlers are its parent's */
	fork_unwatch();
	if (pthread_mutex_trylock(&pool.lock) != 0)
		return;
	if (pool.state == READY || pool.state == LOST) {
		pool_shut();
		if (pool.in_flight == 0)
			pool_close();
		pool.state = DOWN;
	}
	fork_unload();
	pool_unlock();
}

/* Start and stop. */

static bool connect_agent(const char *path)
{
	struct sockaddr_un address;
	if (!agent_address(path, &address))
		return false;
	bool closed = gate_close();
	bool made = descriptor_unconnected(SOCK_SEQPACKET, &pool.control);
	int reason = errno;
	gate_open(closed);
	if (!made)
		complain("signkit: cannot make a socket for the agent: %s", strerror(reason));
	return made && agent_connect(&pool.control, &address);
}

static bool start_token_process(void)
{
	int theirs;
	bool closed = gate_close();
	if (!descriptor_pair(SOCK_SEQPACKET, &pool.control, &theirs)) {
		int reason = errno;
		gate_open(closed);
		complain("signkit: cannot make a socket for the token process: %s", strerror(reason));
		return false;
	}
	bool started = spawn_token_process(theirs, &token_child);
	close(theirs);
	gate_open(closed);
	if (started && !greet_token_process(&pool.control)) {
		complain("signkit: cannot greet the token process: %s", strerror(errno));
		spawn_explain_limits();
		started = false;
	}
	return started;
}

/* start begins and ends with the lock held. In between the control socket is this thread's, and others wait for its state. */
static CK_RV start(void)
{
	if (!pool.changed_made)
		pool_make_changed();
	if (!fork_watch())
		return CKR_HOST_MEMORY;
	const char *path = agent_named();
	pool.agent = path != NULL;
	pool.state = CONNECTING;
	pool_unlock();
	bool connected = path != NULL ? connect_agent(path) : start_token_process();
	pool_lock();
	if (!connected)
		pool_close_control();
	pool.answered = connected && pool.agent;
	pool.state = connected ? READY : DOWN;
	pthread_cond_broadcast(&pool.changed);
	return connected ? CKR_OK : CKR_GENERAL_ERROR;
}

/* retire ends what was started: it waits for the calls in flight, for STOP_LIMIT at most. Begins and ends with the lock held. */
static void retire(void)
{
	pid_t child = pool.state == READY && pool_reachable() ? token_child : 0;
	pool.state = ENDING; /* others wait for what follows */
	pool_shut();
	pthread_cond_broadcast(&pool.changed);
	int64_t limit = now_ms() + STOP_LIMIT * 1000;
	while (pool.in_flight > 0 && pool_wait(limit))
		;
	pool_close();
	token_child = 0;
	pool_unlock();
	reap_token_process(child);
	pool_lock();
	pool.state = DOWN;
	pthread_cond_broadcast(&pool.changed);
}

static CK_RV start_or_restart(void)
{
	if (process_is_copy() && (lent() || !process_take_over()))
		return CKR_GENERAL_ERROR;
	pool_lock();
	while (pool.state == ENDING || pool.state == CONNECTING)
		pthread_cond_wait(&pool.changed, &pool.lock);
	CK_RV rv = CKR_CRYPTOKI_ALREADY_INITIALIZED;
	if (pool.state == LOST)
		retire();
	if (pool.state == DOWN)
		rv = start();
	pool_unlock();
	return rv;
}

static CK_RV stop_and_wait(void)
{
	if (process_is_copy())
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	pool_lock();
	CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	if (pool.state == READY || pool.state == LOST) {
		retire();
		rv = CKR_OK;
	}
	pool_unlock();
	return rv;
}

CK_RV lifecycle_start(void)
{
	int cancel;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	CK_RV rv = start_or_restart();
	pthread_setcancelstate(cancel, NULL);
	return rv;
}

CK_RV lifecycle_stop(void)
{
	int cancel;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	CK_RV rv = stop_and_wait();
	pthread_setcancelstate(cancel, NULL);
	return rv;
}

/* A host may cancel its threads; one that is in here must not vanish with the lock, or stay counted for ever. */
CK_RV visit_begin(struct visit *visit)
{
	if (process_is_copy())
		return CKR_CRYPTOKI_NOT_INITIALIZED;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &visit->cancel);
	CK_RV rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	pool_lock();
	visit->generation = pool.generation;
	if (pool.state == LOST)
		rv = CKR_DEVICE_ERROR;
	if (pool.state == READY) {
		pool.in_flight++;
		rv = CKR_OK;
	}
	pool_unlock();
	if (rv != CKR_OK)
		pthread_setcancelstate(visit->cancel, NULL);
	return rv;
}

void visit_end(const struct visit *visit)
{
	pool_lock();
	if (!pool_overtaken(visit)) {
		pool.in_flight--;
		pthread_cond_broadcast(&pool.changed);
	}
	pool_unlock();
	pthread_setcancelstate(visit->cancel, NULL);
}
