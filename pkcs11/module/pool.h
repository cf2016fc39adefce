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
	OVERDUE,  /* C_Finalize has ended while a thread was in a call with it: that thread frees it */
	ABANDONED /* copied by a fork: nobody frees it */
};

enum use {
	OPENING, /* a thread makes it, without the lock: the descriptor is that thread's */
	BUSY,    /* a thread is in a call with it */
	IDLE,    /* any call may take it */
	WAITING  /* bound, and no thread is in a call with the operation */
};

/* A sign operation is a data socket that is bound to a session: this is what it needs besides. All but `session` and `ended` is the busy thread's. */
struct operation {
	CK_SESSION_HANDLE session;
	CK_ULONG signature_length;
	bool multi_part; /* the mechanism takes C_SignUpdate */
	bool updated;    /* C_SignUpdate was called */
	bool streaming;  /* messages without an answer were sent */
	bool ended;      /* its session ended while a thread was in a call with it */
	unsigned char *buffer;
	size_t buffered;
	uint64_t sequence, bytes;
};

struct data_socket {
	struct data_socket *next;
	struct descriptor descriptor;
	enum place place;
	enum use use;
	bool greeted;
	struct operation *operation; /* that it is bound to; it then does not count against the pool */
};

/* What there is to say, once, of a token process or agent that is lost. */
enum loss {
	LOSS_TOLD,     /* nothing: it was said, or the host has closed our sockets */
	LOSS_IN_START, /* it never greeted */
	LOSS_ENDED,
	LOSS_SILENT,
};

/* What there is once in a process. The lock guards it all, and is never held over a wait on another process. */
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
/* pool_lose notes that the token process is gone or silent, of which `seen` is a sign; pool_explain says what it returns. */
enum loss pool_lose(enum loss seen);
/* pool_shut wakes every thread that waits for an answer. */
void pool_shut(void);
/* pool_close closes every socket and forgets it, but for those that a thread is still in a call with. */
void pool_close(void);
/* pool_abandon forgets what a fork copied. Other threads of the child are kept out by the mark; nothing is freed. */
void pool_abandon(void);
/* pool_close_control closes a control socket that did not come into use. */
void pool_close_control(void);
/* pool_explain is for a person who sees "device error": what has written the other lines is gone. The lock is not held. */
void pool_explain(enum loss loss);

/* What begins with socket_ takes the lock. */

/* socket_acquire takes an idle data socket or makes one; socket_release gives it back, and ends the operation that it was bound to. */
CK_RV socket_acquire(const struct visit *visit, struct data_socket **out);
void socket_release(struct data_socket *socket);
/* socket_discard closes the socket: what it carried is over, or cannot be told apart from what follows. */
void socket_discard(struct data_socket *socket);

/* socket_bind begins a malloc'ed operation: the socket is its own until socket_release or socket_discard, which free it. Else it returns why not. */
CK_RV socket_bind(const struct visit *visit, struct data_socket *socket, struct operation *operation);
/* socket_bound reports whether a session has an operation. */
bool socket_bound(CK_SESSION_HANDLE session);
/* socket_resume takes the socket of a session's operation; NULL: there is none, or another thread is in a call with it. */
struct data_socket *socket_resume(const struct visit *visit, CK_SESSION_HANDLE session);
/* socket_pause gives it back; false: the operation ended meanwhile, and the socket is to be discarded. */
bool socket_pause(struct data_socket *socket);
/* socket_end_operations ends those of one session, or all (0); those in a call end when it returns. */
void socket_end_operations(const struct visit *visit, CK_SESSION_HANDLE session);

#endif
