/* rpc.h: requests and their answers. */
#ifndef SIGNKIT_RPC_H
#define SIGNKIT_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cryptoki.h"
#include "pool.h"
#include "wire.h"

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

/* rpc_send writes one request, without waiting for its answer. */
CK_RV rpc_send(struct data_socket *socket, uint32_t call, uint64_t handle, uint64_t number, struct span a, struct span b);
/* rpc_receive waits for the answer. On failure there is nothing to free, and the socket is out of step: it must be discarded. */
CK_RV rpc_receive(struct data_socket *socket, struct reply *reply);
/* rpc_answered reports whether something can be read already. */
bool rpc_answered(const struct data_socket *socket);
void reply_free(struct reply *reply);

/* rpc_call is acquire, send, receive, release; its result is the call's own, and reply needs reply_free in any case. */
CK_RV rpc_call(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, struct span payload, struct reply *reply);
/* rpc_call_empty is a call whose answer is its result alone. */
CK_RV rpc_call_empty(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, struct span payload);
/* rpc_call_fixed expects a payload of exactly `size` bytes and copies it. */
CK_RV rpc_call_fixed(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, void *out, size_t size);
/* rpc_check_session is CKR_OK or CKR_SESSION_HANDLE_INVALID (or that nobody answers). */
CK_RV rpc_check_session(const struct visit *visit, CK_SESSION_HANDLE session);

#endif
