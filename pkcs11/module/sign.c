/*
 * sign.c: sign operations (PKCS #11 v2.40, section 5.11, signing
 * functions). An operation is a data socket that is bound to a session from
 * C_SignInit to its end, so that its parts cannot change order. Parts are collected and sent without
 * waiting for an answer; each has a number, and the last message carries the
 * count of bytes, so that the token process never signs a shortened text.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle.h"
#include "pool.h"
#include "rpc.h"

/* resume takes the operation of a session. Without one, rv says whether the session or only the operation is missing. */
static struct data_socket *resume(const struct visit *visit, CK_SESSION_HANDLE session, CK_RV *rv)
{
	struct data_socket *socket = socket_resume(visit, session);
	*rv = CKR_OK;
	if (socket == NULL) {
		*rv = rpc_check_session(visit, session);
		if (*rv == CKR_OK)
			*rv = CKR_OPERATION_NOT_INITIALIZED;
	}
	return socket;
}

/* end ends an operation; its socket is used again only where nothing can be left on it. */
static void end(struct data_socket *socket, bool reusable)
{
	if (reusable)
		socket_release(socket);
	else
		socket_discard(socket);
}

/* pause_or_end gives an operation back that goes on, unless its session ended meanwhile. */
static void pause_or_end(struct data_socket *socket)
{
	if (!socket_pause(socket))
		socket_discard(socket);
}

/* cancel ends the operation here and in the token process, which then takes another C_SignInit. */
static void cancel(struct data_socket *socket)
{
	struct reply reply;
	CK_RV rv = rpc_send(socket, WIRE_SIGN_CANCEL, socket->operation->session, 0, (struct span){0}, (struct span){0});
	if (rv == CKR_OK)
		rv = rpc_receive(socket, &reply);
	if (rv == CKR_OK)
		reply_free(&reply);
	end(socket, rv == CKR_OK && !socket->operation->streaming);
}

/* accept_operation reads the answer to C_SignInit into the operation. */
static CK_RV accept_operation(struct operation *operation, const struct reply *reply)
{
	uint64_t flags = 0;
	if (reply->value == 0 || reply->value > WIRE_MAX_PAYLOAD)
		return CKR_DEVICE_ERROR; /* no signature is that long, and an empty one would look like success */
	if (reply->length == sizeof flags)
		memcpy(&flags, reply->payload, sizeof flags);
	operation->signature_length = (CK_ULONG)reply->value;
	operation->multi_part = (flags & WIRE_MULTI_PART) != 0;
	return CKR_OK;
}

/* begin asks the token process to begin an operation, and binds a socket to it. */
static CK_RV begin(const struct visit *visit, struct operation *operation, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	uint64_t type = mechanism->mechanism;
	struct span head = {&type, sizeof type};
	struct span parameter = {mechanism->pParameter, mechanism->ulParameterLen};
	struct data_socket *socket;
	struct reply reply;
	CK_RV rv = socket_acquire(visit, &socket);
	if (rv != CKR_OK)
		return rv;
	rv = rpc_send(socket, WIRE_SIGN_INIT, operation->session, key, head, parameter);
	if (rv == CKR_OK)
		rv = rpc_receive(socket, &reply);
	if (rv != CKR_OK) {
		socket_discard(socket);
		return rv;
	}
	bool refused = reply.rv != CKR_OK;
	rv = refused ? reply.rv : accept_operation(operation, &reply);
	reply_free(&reply);
	if (rv == CKR_OK)
		rv = socket_bind(visit, socket, operation);
	if (rv != CKR_OK)
		end(socket, refused);
	return rv;
}

static CK_RV sign_init(const struct visit *visit, CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	if (mechanism == NULL || (mechanism->pParameter == NULL && mechanism->ulParameterLen != 0))
		return CKR_ARGUMENTS_BAD;
	if (mechanism->ulParameterLen > WIRE_MAX_PAYLOAD / 2)
		return CKR_MECHANISM_PARAM_INVALID;
	if (socket_bound(session))
		return CKR_OPERATION_ACTIVE;
	struct operation *operation = calloc(1, sizeof *operation);
	if (operation == NULL)
		return CKR_HOST_MEMORY; /* not later: the token process would have begun it */
	operation->session = session;
	CK_RV rv = begin(visit, operation, mechanism, key);
	if (rv != CKR_OK)
		free(operation);
	return rv;
}

/* length_query answers a call that has no room for the signature; false: there is room. */
static bool length_query(const struct data_socket *socket, CK_BYTE *signature, CK_ULONG *signature_len, CK_RV *rv)
{
	if (signature != NULL && *signature_len >= socket->operation->signature_length)
		return false;
	*rv = signature == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
	*signature_len = socket->operation->signature_length;
	return true;
}

/* finish receives the signature and ends the operation. */
static CK_RV finish(struct data_socket *socket, CK_BYTE *signature, CK_ULONG *signature_len)
{
	struct reply reply;
	CK_RV rv = rpc_receive(socket, &reply);
	if (rv != CKR_OK) {
		socket_discard(socket);
		return rv;
	}
	rv = reply.rv;
	if (rv == CKR_OK) {
		if (reply.length == socket->operation->signature_length) {
			memcpy(signature, reply.payload, reply.length);
			*signature_len = (CK_ULONG)reply.length;
		} else {
			rv = CKR_DEVICE_ERROR;
		}
	}
	reply_free(&reply);
	end(socket, rv == CKR_OK || !socket->operation->streaming);
	return rv;
}

/* send_part sends one numbered message, or reports the answer that refuses the operation. */
static CK_RV send_part(struct data_socket *socket, struct span part)
{
	if (socket->operation->streaming && rpc_answered(socket)) {
		struct reply reply;
		CK_RV rv = rpc_receive(socket, &reply);
		if (rv != CKR_OK)
			return rv;
		rv = reply.rv != CKR_OK ? reply.rv : CKR_DEVICE_ERROR;
		reply_free(&reply);
		return rv;
	}
	CK_RV rv = rpc_send(socket, WIRE_SIGN_UPDATE, socket->operation->session, socket->operation->sequence, part, (struct span){0});
	if (rv != CKR_OK)
		return rv;
	socket->operation->streaming = true;
	socket->operation->sequence++;
	socket->operation->bytes += part.length;
	return CKR_OK;
}

static CK_RV flush(struct data_socket *socket)
{
	if (socket->operation->buffered == 0)
		return CKR_OK;
	CK_RV rv = send_part(socket, (struct span){socket->operation->buffer, socket->operation->buffered});
	socket->operation->buffered = 0;
	return rv;
}

static CK_RV send_directly(struct data_socket *socket, const CK_BYTE *part, CK_ULONG length)
{
	while (length > 0) {
		size_t piece = length < WIRE_MAX_UPDATE ? length : WIRE_MAX_UPDATE;
		CK_RV rv = send_part(socket, (struct span){part, piece});
		if (rv != CKR_OK)
			return rv;
		part += piece;
		length -= piece;
	}
	return CKR_OK;
}

static CK_RV update(struct data_socket *socket, const CK_BYTE *part, CK_ULONG length)
{
	if (length >= WIRE_COALESCE - socket->operation->buffered) {
		CK_RV rv = flush(socket);
		if (rv != CKR_OK)
			return rv;
	}
	if (length >= WIRE_COALESCE)
		return send_directly(socket, part, length);
	if (length == 0)
		return CKR_OK;
	if (socket->operation->buffer == NULL && (socket->operation->buffer = malloc(WIRE_COALESCE)) == NULL)
		return send_directly(socket, part, length); /* slower */
	memcpy(socket->operation->buffer + socket->operation->buffered, part, length);
	socket->operation->buffered += length;
	return CKR_OK;
}

/* sign_collected ends an operation with what was sent and what is still here. */
static CK_RV sign_collected(struct data_socket *socket, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv = flush(socket);
	if (rv == CKR_OK)
		rv = rpc_send(socket, WIRE_SIGN_FINAL, socket->operation->session, socket->operation->bytes, (struct span){0}, (struct span){0});
	if (rv != CKR_OK) {
		socket_discard(socket);
		return rv;
	}
	return finish(socket, signature, signature_len);
}

/* sign_whole is C_Sign after all checks. Long texts go the way of C_SignUpdate. */
static CK_RV sign_whole(struct data_socket *socket, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv;
	if (data_len <= WIRE_COALESCE) {
		rv = rpc_send(socket, WIRE_SIGN, socket->operation->session, 0, (struct span){data, data_len}, (struct span){0});
		if (rv == CKR_OK)
			return finish(socket, signature, signature_len);
	} else if (socket->operation->multi_part) {
		rv = update(socket, data, data_len);
		if (rv == CKR_OK)
			return sign_collected(socket, signature, signature_len);
	} else {
		cancel(socket);
		return CKR_DATA_LEN_RANGE;
	}
	socket_discard(socket);
	return rv;
}

static CK_RV sign(const struct visit *visit, CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv;
	struct data_socket *socket = resume(visit, session, &rv);
	if (socket == NULL)
		return signature_len == NULL ? CKR_ARGUMENTS_BAD : rv;
	/* libp11 0.4.11 asks with no data for EC keys and goes on well only if this ends the operation. */
	if (signature_len == NULL || (data == NULL && data_len != 0)) {
		cancel(socket);
		return CKR_ARGUMENTS_BAD;
	}
	if (socket->operation->updated) {
		cancel(socket);
		return CKR_OPERATION_NOT_INITIALIZED;
	}
	if (length_query(socket, signature, signature_len, &rv)) {
		pause_or_end(socket);
		return rv;
	}
	return sign_whole(socket, data, data_len, signature, signature_len);
}

static CK_RV sign_update(const struct visit *visit, CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len)
{
	CK_RV rv;
	struct data_socket *socket = resume(visit, session, &rv);
	if (socket == NULL)
		return part == NULL && part_len != 0 ? CKR_ARGUMENTS_BAD : rv;
	if (part == NULL && part_len != 0)
		rv = CKR_ARGUMENTS_BAD;
	else if (!socket->operation->multi_part)
		rv = CKR_FUNCTION_NOT_SUPPORTED;
	if (rv != CKR_OK) {
		cancel(socket);
		return rv;
	}
	socket->operation->updated = true;
	rv = update(socket, part, part_len);
	if (rv == CKR_OK)
		pause_or_end(socket);
	else
		socket_discard(socket);
	return rv;
}

static CK_RV sign_final(const struct visit *visit, CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv;
	struct data_socket *socket = resume(visit, session, &rv);
	if (socket == NULL)
		return signature_len == NULL ? CKR_ARGUMENTS_BAD : rv;
	if (signature_len == NULL) {
		cancel(socket);
		return CKR_ARGUMENTS_BAD;
	}
	if (!socket->operation->multi_part) {
		cancel(socket);
		return CKR_FUNCTION_NOT_SUPPORTED;
	}
	if (length_query(socket, signature, signature_len, &rv)) {
		pause_or_end(socket);
		return rv;
	}
	return sign_collected(socket, signature, signature_len);
}

CK_RV C_SignInit(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	ENTRY(visit, sign_init(&visit, session, mechanism, key));
}

CK_RV C_Sign(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
{
	ENTRY(visit, sign(&visit, session, data, data_len, signature, signature_len));
}

CK_RV C_SignUpdate(CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len)
{
	ENTRY(visit, sign_update(&visit, session, part, part_len));
}

CK_RV C_SignFinal(CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG *signature_len)
{
	ENTRY(visit, sign_final(&visit, session, signature, signature_len));
}
