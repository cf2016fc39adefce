/*
 * rpc.c: requests to the token process or agent, and their answers. Nothing that
 * is received is believed before it was checked.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "connect.h"
#include "rpc.h"

#define REFUSAL_LIMIT 500 /* milliseconds between the end of a data socket and that of the control socket */

/* lose notes that the token process does not answer any more, and says what the call returns. */
static CK_RV lose(const struct data_socket *socket)
{
	CK_RV rv = CKR_DEVICE_ERROR;
	enum loss loss = LOSS_TOLD, seen = LOSS_TOLD;
	if (descriptor_is_ours(&socket->descriptor)) /* else the host has closed it */
		seen = descriptor_ended(&socket->descriptor) ? LOSS_ENDED : LOSS_SILENT;
	pool_lock();
	if (socket->place == LISTED && pool.state == READY)
		loss = pool_lose(seen);
	else if (socket->place != LISTED || pool.state != LOST)
		rv = CKR_CRYPTOKI_NOT_INITIALIZED;
	pool_unlock();
	pool_explain(loss);
	return rv;
}

/*
 * refused tells a token process that refused this one socket, for want of
 * descriptors, from one that is gone: the end of a process closes its sockets
 * one after the other, so the control socket gets some time to follow.
 */
static bool refused(const struct data_socket *socket)
{
	pool_lock();
	bool alive = socket->place == LISTED && pool.state == READY && pool_reachable();
	struct pollfd end = {.fd = pool.control.fd, .events = POLLIN};
	pool_unlock();
	for (int64_t limit = now_ms() + REFUSAL_LIMIT; alive && now_ms() < limit;)
		if (poll(&end, 1, (int)(limit - now_ms()) + 1) >= 0)
			break;
	pool_lock();
	alive = alive && socket->place == LISTED && pool.state == READY && pool_reachable();
	pool_unlock();
	return alive;
}

/* failed says what a call returns whose socket failed: before the greeting it may be that this one was refused. */
static CK_RV failed(const struct data_socket *socket)
{
	return !socket->greeted && descriptor_ended(&socket->descriptor) && refused(socket) ? CKR_HOST_MEMORY : lose(socket);
}

CK_RV rpc_send(struct data_socket *socket, uint32_t call, uint64_t handle, uint64_t number, struct span a, struct span b)
{
	struct wire_request request = {.call = call, .length = (uint32_t)(a.length + b.length), .handle = handle, .number = number};
	struct iovec parts[3] = {
		{.iov_base = &request, .iov_len = sizeof request},
		{.iov_base = (void *)a.data, .iov_len = a.length},
		{.iov_base = (void *)b.data, .iov_len = b.length},
	};
	if (!descriptor_is_ours(&socket->descriptor))
		return CKR_DEVICE_ERROR;
	if (!descriptor_send(&socket->descriptor, parts, 3))
		return failed(socket);
	return CKR_OK;
}

/* read_hello checks who is at the other end, once per socket. */
static bool read_hello(struct data_socket *socket)
{
	if (socket->greeted)
		return true;
	struct wire_hello theirs;
	if (!descriptor_receive(&socket->descriptor, &theirs, sizeof theirs))
		return false;
	socket->greeted = true;
	pool_lock();
	pool.answered = true;
	pool_unlock();
	return greeting_fits(&theirs, pool.agent);
}

/* read_answer reads headers until one is the answer. */
static bool read_answer(struct data_socket *socket, struct wire_reply *header)
{
	do {
		if (!descriptor_receive(&socket->descriptor, header, sizeof *header))
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

CK_RV rpc_receive(struct data_socket *socket, struct reply *reply)
{
	reply_clear(reply);
	struct wire_reply header;
	if (!descriptor_is_ours(&socket->descriptor))
		return CKR_DEVICE_ERROR;
	if (!read_hello(socket))
		return failed(socket);
	if (!read_answer(socket, &header))
		return lose(socket);
	if (header.length > sizeof reply->small) {
		unsigned char *payload = malloc(header.length);
		if (payload == NULL)
			return CKR_HOST_MEMORY;
		reply->payload = payload;
	}
	if (!descriptor_receive(&socket->descriptor, reply->payload, header.length)) {
		reply_free(reply);
		return lose(socket);
	}
	reply->rv = (CK_RV)header.rv;
	reply->value = header.value;
	reply->length = header.length;
	return CKR_OK;
}

bool rpc_answered(const struct data_socket *socket)
{
	size_t skip = socket->greeted ? 0 : sizeof(struct wire_hello);
	char peek[sizeof(struct wire_hello) + 1];
	if (!descriptor_is_ours(&socket->descriptor))
		return true;
	struct iovec part = {.iov_base = peek, .iov_len = skip + 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t got = recvmsg(socket->descriptor.fd, &message, MSG_PEEK | MSG_DONTWAIT);
	return got == 0 || got > (ssize_t)skip;
}

CK_RV rpc_call(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, struct span payload, struct reply *reply)
{
	struct data_socket *socket;
	reply_clear(reply);
	if (payload.length > WIRE_MAX_PAYLOAD)
		return CKR_ARGUMENTS_BAD;
	CK_RV rv = socket_acquire(visit, &socket);
	if (rv != CKR_OK)
		return rv;
	rv = rpc_send(socket, call, handle, number, payload, (struct span){0});
	if (rv == CKR_OK)
		rv = rpc_receive(socket, reply);
	if (rv != CKR_OK) {
		socket_discard(socket);
		return rv;
	}
	socket_release(socket);
	return reply->rv;
}

CK_RV rpc_call_fixed(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, void *out, size_t size)
{
	struct reply reply;
	CK_RV rv = rpc_call(visit, call, handle, number, (struct span){0}, &reply);
	if (rv == CKR_OK) {
		if (reply.length != size)
			rv = CKR_DEVICE_ERROR;
		else if (size > 0)
			memcpy(out, reply.payload, size);
	}
	reply_free(&reply);
	return rv;
}

CK_RV rpc_call_empty(const struct visit *visit, uint32_t call, uint64_t handle, uint64_t number, struct span payload)
{
	struct reply reply;
	CK_RV rv = rpc_call(visit, call, handle, number, payload, &reply);
	reply_free(&reply);
	return rv;
}

CK_RV rpc_check_session(const struct visit *visit, CK_SESSION_HANDLE session)
{
	return rpc_call_empty(visit, WIRE_CHECK_SESSION, session, 0, (struct span){0});
}
