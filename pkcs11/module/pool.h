/* pool.h: the control socket and the data sockets, which all threads share. */
#ifndef SIGNKIT_POOL_H
#define SIGNKIT_POOL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "cryptoki.h"
#include "socket.h"

enum state { DOWN, CONNECTING, READY, LOST, ENDING };

enum place {
	LISTED,   /* among the pool's sockets */
	OVERDUE,  /* its client has ended while a thread was in a call with it: that thread frees it */
	ABANDONED /* copied by a fork: nobody frees it */
};

struct data_socket {
	struct data_socket *next;
	struct descriptor descriptor;
	enum place place;
	bool idle, bound, greeted;
};

/* What there is once in a process. The lock guards it all, and is never held over a round trip. */
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t changed; /* made by the first start, or with a copy */
	bool changed_made;
	enum state state;
	unsigned generation; /* of what follows */
	struct descriptor control;
	bool agent;    /* it is an agent that answers, and no token process */
	bool answered; /* the other side has greeted on some data socket */
	struct data_socket *sockets, *overdue;
	unsigned pooled, total, in_flight;
};

extern struct pool pool;

/* One thread's stay in the module. */
struct visit {
	int cancel;          /* the thread's cancel state before it */
	unsigned generation; /* of the pool: C_Finalize and a new start can overtake a stay that lasts too long */
};

void pool_lock(void);
void pool_unlock(void);

/* All that begins with pool_ wants the lock to be held. */

/* pool_make_changed makes the waits independent of a clock that somebody sets. Nobody waits yet. */
void pool_make_changed(void);
/* pool_wait waits for a change, until `limit` (of now_ms) at most. */
bool pool_wait(int64_t limit);
/* pool_overtaken reports whether what the visit began with is gone. */
bool pool_overtaken(const struct visit *visit);
/* pool_reachable reports whether the token process is there. */
bool pool_reachable(void);
/* pool_lose notes that the token process is gone or silent. */
void pool_lose(void);
/* pool_shut wakes every thread that waits for an answer. */
void pool_shut(void);
/* pool_close closes every socket and forgets it, but for those that a thread is still in a call with. */
void pool_close(void);
/* pool_abandon forgets what a fork copied. Other threads of the child are kept out by the mark; nothing is freed. */
void pool_abandon(void);
/* pool_close_control closes a control socket that did not come into use. */
void pool_close_control(void);
/* pool_explain_loss is for a person who sees "device error": what has written the other lines is gone. The lock is not held. */
void pool_explain_loss(bool ended);

/* What begins with socket_ takes the lock, unless it says that it wants it to be held. */

/* socket_acquire takes an idle data socket or makes one; socket_release gives it back. */
CK_RV socket_acquire(const struct visit *visit, struct data_socket **out);
void socket_release(struct data_socket *socket);
/* socket_discard closes the socket: what it carried is over, or cannot be told apart from what follows. */
void socket_discard(struct data_socket *socket);
/* socket_bind keeps the socket for a sign operation; it then no longer counts against the pool. The lock is held. */
void socket_bind(struct data_socket *socket);
/* socket_unbind notes that the operation is gone, and nobody uses the socket. The lock is held. */
void socket_unbind(struct data_socket *socket);

#endif
