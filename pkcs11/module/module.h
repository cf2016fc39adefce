/* module.h: what the files of the module share. Nothing here is exported. */
#ifndef SIGNKIT_MODULE_H
#define SIGNKIT_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "cryptoki.h"
#include "wire.h"

#ifndef SIGNKIT_VERSION
#define SIGNKIT_VERSION "dev"
#endif
#ifndef SIGNKIT_LIBRARY_DIR
#define SIGNKIT_LIBRARY_DIR "/usr/lib/signkit"
#endif

_Static_assert(sizeof(CK_ULONG) == 8, "the wire carries 64-bit numbers");
_Static_assert(sizeof(SIGNKIT_VERSION) <= WIRE_BUILD_ID_SIZE, "the version is the build id");

/* spawn.c: starting the token process. */

/*
 * spawn_token_process starts signkit-tokend with `control` as its descriptor 3.
 * It prints the one line that a person needs, and returns false, where that
 * is not possible. The process is no child that the host can wait for, but
 * where orphans become the host's; *child is its number, or 0 if unknown.
 */
bool spawn_token_process(int control, pid_t *child);

/*
 * reap takes the exit status of the token process where it has become the
 * host's child after all (the host is PID 1 or a subreaper), so that the host
 * finds no stranger. It waits a moment at most. The process was alive just
 * before: else its number could be another's by now.
 */
void reap(pid_t child);

/* complain writes one line to descriptor 2 (printf format, no line end). */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* descriptor_above moves fd to a number ≥ 200, or ≥ 3 where limits forbid that; -1 if neither. Closes fd. */
int descriptor_above(int fd);

/* fork.c: which process this is. */

enum process {
	PROCESS_SAME, /* the one that loaded the module, or took its copy over */
	PROCESS_COPY, /* a fork's child: what is here is a copy, and nothing of it may be used */
	PROCESS_LENT, /* a vfork's child: what is here is its parent's */
};

enum process mark_process(void);
/* mark_make marks this process as the one that loads the module. */
void mark_make(void);
/* mark_claim is true in the one thread that is to make a copy start afresh and then calls mark_claimed; others wait for that. */
bool mark_claim(void);
void mark_claimed(void);
/* mark_unmap gives back what does not go with the library. */
void mark_unmap(void);

/* socket.c: descriptors, and bounded waits on them. */

/* A descriptor with what tells it from one that the host put in its place. */
struct descriptor {
	int fd;
	dev_t device;
	ino_t inode;
};

/* now_ms is a clock that nobody sets. */
int64_t now_ms(void);
/* is_ours reports whether a descriptor is still what it was. */
bool is_ours(const struct descriptor *known);
/* close_ours closes a descriptor that is still ours, and forgets it. */
void close_ours(struct descriptor *descriptor);
/* socket_pair makes a pair, ours first; errno tells why not. */
bool socket_pair(int type, struct descriptor *ours, int *theirs);
/* socket_alone makes a socket that is to be connected; errno tells why not. */
bool socket_alone(int type, struct descriptor *ours);
/*
 * silent takes a wait that ended with an error, adds it to those before, and says
 * whether they are too many. Where one lasts longer than its limit, the host was
 * stopped (Ctrl-Z, a frozen container): that is not the other side's silence.
 */
bool silent(int error, int64_t took, int64_t *sum);
/* send_all and receive_all end when all is done, nothing was for WIRE_SILENCE, or the descriptor is no longer ours. */
bool send_all(const struct descriptor *socket, struct iovec *parts, size_t count);
bool receive_all(const struct descriptor *socket, void *buffer, size_t size);

/* connect.c: the agent, which may take the token process's place. */

/* agent_named is what SIGNKIT_AGENT says; NULL: nothing. */
const char *agent_named(void);
/* The rest prints the one line that a person needs where it returns false. */
bool agent_address(const char *path, struct sockaddr_un *address);
/* agent_connect connects a socket, and checks who is at its other end. */
bool agent_connect(const struct descriptor *control, const struct sockaddr_un *address);

/* lifecycle.c: the connection to the token process or agent, calls and forks. */

struct conn; /* one data socket */

#define SIGNATURE_MAX 1024 /* bytes: RSA with 8192 bits */

struct reply {
	CK_RV rv;
	uint64_t value;
	unsigned char *payload; /* malloc'ed where small has no room */
	size_t length;
	unsigned char small[SIGNATURE_MAX]; /* a signature that was made is never lost for want of memory */
};

struct span {
	const void *data;
	size_t length;
};

CK_RV client_start(void);
CK_RV client_stop(void);

/* One thread's stay in the module. */
struct visit {
	int cancel;          /* the thread's cancel state before it */
	unsigned generation; /* of the client: C_Finalize and a new start can overtake a stay that lasts too long */
};

/* call_enter begins every entry point: CKR_OK, or what to return. After CKR_OK, call_leave must follow. */
CK_RV call_enter(struct visit *visit);
void call_leave(const struct visit *visit);
/* overtaken reports whether the client that the visit began with is gone. The lock is held. */
bool overtaken(const struct visit *visit);

/* conn_acquire takes an idle data socket or makes one; conn_release gives it back. */
CK_RV conn_acquire(const struct visit *visit, struct conn **out);
void conn_release(struct conn *conn);
/* conn_bind keeps the socket for a sign operation; it then no longer counts against the pool. The lock is held. */
void conn_bind(struct conn *conn);
/* conn_unbind notes that the operation is gone, and nobody uses the socket. The lock is held. */
void conn_unbind(struct conn *conn);
/* conn_discard closes the socket: what it carried is over, or cannot be told apart from what follows. */
void conn_discard(struct conn *conn);

/* conn_send writes one request, without waiting for its answer. */
CK_RV conn_send(struct conn *conn, uint32_t call, uint64_t handle, uint64_t number, struct span a, struct span b);
/* conn_receive waits for the answer. On failure there is nothing to free, and the socket is out of step: it must be discarded. */
CK_RV conn_receive(struct conn *conn, struct reply *reply);
/* conn_answered reports whether something can be read already. */
bool conn_answered(struct conn *conn);

/* transact is acquire, send, receive, release; its result is the call's own, and reply needs reply_free in any case. */
CK_RV transact(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, struct span payload, struct reply *reply);
/* transact_fixed expects a payload of exactly `size` bytes and copies it. */
CK_RV transact_fixed(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, void *out, size_t size);
void reply_free(struct reply *reply);

/* check_session is CKR_OK or CKR_SESSION_HANDLE_INVALID (or that nobody answers). */
CK_RV check_session(const struct visit *visit, CK_SESSION_HANDLE session);

/* The lock that guards all state of lifecycle.c and sign.c. Never held over a round trip. */
void state_lock(void);
void state_unlock(void);

/* sign.c: sign operations, each bound to one data socket. */

/* operations_forget drops what C_CloseSession or C_CloseAllSessions ended; session 0 means all. */
void operations_forget(const struct visit *visit, CK_SESSION_HANDLE session);
/* operations_free empties the table; an operation that a thread is still in ends when that returns. The lock is held. */
void operations_free(void);
/* operations_abandon forgets the table after a fork, when the heap may be in any state. */
void operations_abandon(void);

#endif
