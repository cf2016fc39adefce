/* module.h: what the files of the module share. Nothing here is exported. */
#ifndef SIGNKIT_MODULE_H
#define SIGNKIT_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
 * is not possible. The process is no child that the host can wait for.
 */
bool spawn_token_process(int control);

/* complain writes one line to descriptor 2 (printf format, no line end). */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* descriptor_above moves fd to a number ≥ 200, or ≥ 3 where limits forbid that; -1 if neither. Closes fd. */
int descriptor_above(int fd);

/* client.c: the connection to the token process, calls and forks. */

struct conn; /* one data socket */

struct reply {
	CK_RV rv;
	uint64_t value;
	unsigned char *payload; /* malloc'ed; NULL if length is 0 */
	size_t length;
};

struct span {
	const void *data;
	size_t length;
};

CK_RV client_start(void);
CK_RV client_stop(void);

/* call_enter begins every entry point: CKR_OK, or what to return. After CKR_OK, call_leave must follow, with the same variable (the thread's cancel state). */
CK_RV call_enter(int *cancel);
void call_leave(int cancel);

/* conn_acquire takes an idle data socket or makes one; conn_release gives it back. */
CK_RV conn_acquire(struct conn **out);
void conn_release(struct conn *conn);
/* conn_bind keeps the socket for a sign operation; it then no longer counts against the pool. */
void conn_bind(struct conn *conn);
/* conn_discard closes the socket: what it carried is over, or cannot be told apart from what follows. */
void conn_discard(struct conn *conn);

/* conn_send writes one request, without waiting for its answer. */
CK_RV conn_send(struct conn *conn, uint32_t call, uint64_t handle, uint64_t number, struct span a, struct span b);
/* conn_receive waits for the answer. On failure there is nothing to free. */
CK_RV conn_receive(struct conn *conn, struct reply *reply);
/* conn_answered reports whether something can be read already. */
bool conn_answered(struct conn *conn);

/* transact is acquire, send, receive, release; its result is the call's own, and reply needs reply_free in any case. */
CK_RV transact(uint32_t call, uint64_t handle, uint64_t number, struct span payload, struct reply *reply);
/* transact_fixed expects a payload of exactly `size` bytes and copies it. */
CK_RV transact_fixed(uint32_t call, uint64_t handle, uint64_t number, void *out, size_t size);
void reply_free(struct reply *reply);

/* check_session is CKR_OK or CKR_SESSION_HANDLE_INVALID (or that nobody answers). */
CK_RV check_session(CK_SESSION_HANDLE session);

/* The lock that guards all state of client.c and operation.c. Never held over a round trip. */
void state_lock(void);
void state_unlock(void);

/* operation.c: sign operations, each bound to one data socket. */

/* operations_forget drops what C_CloseSession or C_CloseAllSessions ended; session 0 means all. */
void operations_forget(CK_SESSION_HANDLE session);
/* operations_free empties the table; no call is in flight, and the lock is held. Sockets are not touched. */
void operations_free(void);
/* operations_abandon forgets the table after a fork, when the heap may be in any state. */
void operations_abandon(void);

#endif
