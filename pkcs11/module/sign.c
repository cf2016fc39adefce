/*
 * sign.c: sign operations (PKCS #11 v2.40, section 5.11, signing
 * functions). An operation owns one data socket from C_SignInit to its end, so
 * that its parts cannot change order. Parts are collected and sent without
 * waiting for an answer; each has a number, and the last message carries the
 * count of bytes, so that the token process never signs a shortened text.
 */
#include <stdlib.h>
#include <string.h>

#include "lifecycle.h"
#include "pool.h"
#include "rpc.h"
#include "sign.h"

struct operation {
	struct operation *next;
	CK_SESSION_HANDLE session;
	struct data_socket *socket;
	CK_ULONG signature_length;
	bool multi_part; /* the mechanism takes C_SignUpdate */
	bool updated;    /* C_SignUpdate was called */
	bool streaming;  /* messages without an answer were sent */
	bool busy;       /* a thread is in a call with it */
	bool closed;     /* its session ended meanwhile */
	unsigned char *buffer;
	size_t buffered;
	uint64_t sequence, bytes;
};

static struct operation *operations;
static struct operation *abandoned __attribute__((used)); /* kept reachable for leak checkers */

void operations_abandon(void)
{
	struct operation **end = &operations;
	while (*end != NULL)
		end = &(*end)->next;
	*end = abandoned;
	abandoned = operations;
	operations = NULL;
}

static struct operation **find(CK_SESSION_HANDLE session)
{
	struct operation **at = &operations;
	while (*at != NULL && (*at)->session != session)
		at = &(*at)->next;
	return at;
}

static void destroy(struct operation *operation)
{
	free(operation->buffer);
	free(operation);
}

void operations_free(void)
{
	while (operations != NULL) {
		struct operation *operation = operations;
		operations = operation->next;
		if (operation->busy) {
			operation->closed = true;
			continue;
		}
		socket_unbind(operation->socket);
		destroy(operation);
	}
}

/*
 * take marks the operation of a session as busy and returns it. Without one,
 * rv says whether the session or only the operation is missing.
 */
static struct operation *take(const struct visit *visit, CK_SESSION_HANDLE session, CK_RV *rv)
{
	pool_lock();
	struct operation *operation = *find(session);
	if (operation != NULL && (operation->busy || pool_overtaken(visit)))
		operation = NULL; /* another thread is ending it */
	if (operation != NULL)
		operation->busy = true;
	pool_unlock();
	*rv = CKR_OK;
	if (operation == NULL) {
		*rv = rpc_check_session(visit, session);
		if (*rv == CKR_OK)
			*rv = CKR_OPERATION_NOT_INITIALIZED;
	}
	return operation;
}

static void forget(struct operation *operation)
{
	pool_lock();
	struct operation **at = &operations;
	while (*at != NULL && *at != operation)
		at = &(*at)->next;
	if (*at != NULL)
		*at = operation->next;
	pool_unlock();
}

/* end removes the operation; its socket is used again only where nothing can be left on it. */
static void end(struct operation *operation, bool reusable)
{
	forget(operation);
	if (reusable)
		socket_release(operation->socket);
	else
		socket_discard(operation->socket);
	destroy(operation);
}

/* keep gives an operation back that goes on, unless its session ended meanwhile. */
static void keep(struct operation *operation)
{
	pool_lock();
	bool closed = operation->closed;
	operation->busy = closed;
	pool_unlock();
	if (closed)
		end(operation, false);
}

/* cancel ends the operation here and in the token process, which then takes another C_SignInit. */
static void cancel(struct operation *operation)
{
	struct reply reply;
	CK_RV rv = rpc_send(operation->socket, WIRE_SIGN_CANCEL, operation->session, 0, (struct span){0}, (struct span){0});
	if (rv == CKR_OK)
		rv = rpc_receive(operation->socket, &reply);
	if (rv == CKR_OK)
		reply_free(&reply);
	end(operation, rv == CKR_OK && !operation->streaming);
}

/* next_forgotten takes one operation that ended with its session; those in a call end when it returns. */
static struct operation *next_forgotten(const struct visit *visit, CK_SESSION_HANDLE session)
{
	struct operation *found = NULL;
	pool_lock();
	for (struct operation *operation = operations; operation != NULL && !pool_overtaken(visit); operation = operation->next) {
		if (session != 0 && operation->session != session)
			continue;
		if (operation->busy)
			operation->closed = true;
		else
			found = operation;
	}
	if (found != NULL)
		found->busy = true;
	pool_unlock();
	return found;
}

void operations_forget(const struct visit *visit, CK_SESSION_HANDLE session)
{
	for (struct operation *operation; (operation = next_forgotten(visit, session)) != NULL;)
		end(operation, false);
}

static bool has_operation(CK_SESSION_HANDLE session)
{
	pool_lock();
	bool found = *find(session) != NULL;
	pool_unlock();
	return found;
}

/* add puts an operation that the token process has begun into the table. */
static CK_RV add(const struct visit *visit, struct operation *operation, const struct reply *reply)
{
	uint64_t flags = 0;
	if (reply->value == 0 || reply->value > WIRE_MAX_PAYLOAD)
		return CKR_DEVICE_ERROR; /* no signature is that long, and an empty one would look like success */
	if (reply->length == sizeof flags)
		memcpy(&flags, reply->payload, sizeof flags);
	operation->signature_length = (CK_ULONG)reply->value;
	operation->multi_part = (flags & WIRE_MULTI_PART) != 0;
	pool_lock();
	bool late = pool_overtaken(visit);
	if (!late) {
		socket_bind(operation->socket);
		operation->next = operations;
		operations = operation;
	}
	pool_unlock();
	return late ? CKR_CRYPTOKI_NOT_INITIALIZED : CKR_OK;
}

/* begin asks the token process to begin an operation, which ends here if it does not. */
static CK_RV begin(const struct visit *visit, struct operation *operation, const CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	uint64_t type = mechanism->mechanism;
	struct span head = {&type, sizeof type};
	struct span parameter = {mechanism->pParameter, mechanism->ulParameterLen};
	struct reply reply;
	CK_RV rv = rpc_send(operation->socket, WIRE_SIGN_INIT, operation->session, key, head, parameter);
	if (rv == CKR_OK)
		rv = rpc_receive(operation->socket, &reply);
	if (rv != CKR_OK) {
		end(operation, false);
		return rv;
	}
	rv = reply.rv;
	bool refused = rv != CKR_OK;
	if (!refused)
		rv = add(visit, operation, &reply);
	reply_free(&reply);
	if (rv != CKR_OK)
		end(operation, refused);
	return rv;
}

static CK_RV sign_init(const struct visit *visit, CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	if (mechanism == NULL || (mechanism->pParameter == NULL && mechanism->ulParameterLen != 0))
		return CKR_ARGUMENTS_BAD;
	if (mechanism->ulParameterLen > WIRE_MAX_PAYLOAD / 2)
		return CKR_MECHANISM_PARAM_INVALID;
	if (has_operation(session))
		return CKR_OPERATION_ACTIVE;
	struct operation *operation = calloc(1, sizeof *operation);
	if (operation == NULL)
		return CKR_HOST_MEMORY; /* not later: the token process would have begun it */
	operation->session = session;
	CK_RV rv = socket_acquire(visit, &operation->socket);
	if (rv != CKR_OK) {
		destroy(operation);
		return rv;
	}
	return begin(visit, operation, mechanism, key);
}

/* length_query answers a call that has no room for the signature; false: there is room. */
static bool length_query(const struct operation *operation, CK_BYTE *signature, CK_ULONG *signature_len, CK_RV *rv)
{
	if (signature != NULL && *signature_len >= operation->signature_length)
		return false;
	*rv = signature == NULL ? CKR_OK : CKR_BUFFER_TOO_SMALL;
	*signature_len = operation->signature_length;
	return true;
}

/* finish receives the signature and ends the operation. */
static CK_RV finish(struct operation *operation, CK_BYTE *signature, CK_ULONG *signature_len)
{
	struct reply reply;
	CK_RV rv = rpc_receive(operation->socket, &reply);
	if (rv != CKR_OK) {
		end(operation, false);
		return rv;
	}
	rv = reply.rv;
	if (rv == CKR_OK) {
		if (reply.length == operation->signature_length) {
			memcpy(signature, reply.payload, reply.length);
			*signature_len = (CK_ULONG)reply.length;
		} else {
			rv = CKR_DEVICE_ERROR;
		}
	}
	reply_free(&reply);
	end(operation, rv == CKR_OK || !operation->streaming);
	return rv;
}

/* send_part sends one numbered message, or reports the answer that refuses the operation. */
static CK_RV send_part(struct operation *operation, struct span part)
{
	if (operation->streaming && rpc_answered(operation->socket)) {
		struct reply reply;
		CK_RV rv = rpc_receive(operation->socket, &reply);
		if (rv != CKR_OK)
			return rv;
		rv = reply.rv != CKR_OK ? reply.rv : CKR_DEVICE_ERROR;
		reply_free(&reply);
		return rv;
	}
	CK_RV rv = rpc_send(operation->socket, WIRE_SIGN_UPDATE, operation->session, operation->sequence, part, (struct span){0});
	if (rv != CKR_OK)
		return rv;
	operation->streaming = true;
	operation->sequence++;
	operation->bytes += part.length;
	return CKR_OK;
}

static CK_RV flush(struct operation *operation)
{
	if (operation->buffered == 0)
		return CKR_OK;
	CK_RV rv = send_part(operation, (struct span){operation->buffer, operation->buffered});
	operation->buffered = 0;
	return rv;
}

static CK_RV send_directly(struct operation *operation, const CK_BYTE *part, CK_ULONG length)
{
	while (length > 0) {
		size_t piece = length < WIRE_MAX_UPDATE ? length : WIRE_MAX_UPDATE;
		CK_RV rv = send_part(operation, (struct span){part, piece});
		if (rv != CKR_OK)
			return rv;
		part += piece;
		length -= piece;
	}
	return CKR_OK;
}

static CK_RV update(struct operation *operation, const CK_BYTE *part, CK_ULONG length)
{
	if (length >= WIRE_COALESCE - operation->buffered) {
		CK_RV rv = flush(operation);
		if (rv != CKR_OK)
			return rv;
	}
	if (length >= WIRE_COALESCE)
		return send_directly(operation, part, length);
	if (length == 0)
		return CKR_OK;
	if (operation->buffer == NULL && (operation->buffer = malloc(WIRE_COALESCE)) == NULL)
		return send_directly(operation, part, length); /* slower */
	memcpy(operation->buffer + operation->buffered, part, length);
	operation->buffered += length;
	return CKR_OK;
}

/* sign_collected ends an operation with what was sent and what is still here. */
static CK_RV sign_collected(struct operation *operation, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv = flush(operation);
	if (rv == CKR_OK)
		rv = rpc_send(operation->socket, WIRE_SIGN_FINAL, operation->session, operation->bytes, (struct span){0}, (struct span){0});
	if (rv != CKR_OK) {
		end(operation, false);
		return rv;
	}
	return finish(operation, signature, signature_len);
}

/* sign_whole is C_Sign after all checks. Long texts go the way of C_SignUpdate. */
static CK_RV sign_whole(struct operation *operation, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv;
	if (data_len <= WIRE_COALESCE) {
		rv = rpc_send(operation->socket, WIRE_SIGN, operation->session, 0, (struct span){data, data_len}, (struct span){0});
		if (rv == CKR_OK)
			return finish(operation, signature, signature_len);
	} else if (operation->multi_part) {
		rv = update(operation, data, data_len);
		if (rv == CKR_OK)
			return sign_collected(operation, signature, signature_len);
	} else {
		cancel(operation);
		return CKR_DATA_LEN_RANGE;
	}
	end(operation, false);
	return rv;
}

static CK_RV sign(const struct visit *visit, CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG data_len, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv;
	struct operation *operation = take(visit, session, &rv);
	if (operation == NULL)
		return signature_len == NULL ? CKR_ARGUMENTS_BAD : rv;
	/* libp11 0.4.11 asks with no data for EC keys and goes on well only if this ends the operation. */
	if (signature_len == NULL || (data == NULL && data_len != 0)) {
		cancel(operation);
		return CKR_ARGUMENTS_BAD;
	}
	if (operation->updated) {
		cancel(operation);
		return CKR_OPERATION_NOT_INITIALIZED;
	}
	if (length_query(operation, signature, signature_len, &rv)) {
		keep(operation);
		return rv;
	}
	return sign_whole(operation, data, data_len, signature, signature_len);
}

static CK_RV sign_update(const struct visit *visit, CK_SESSION_HANDLE session, CK_BYTE *part, CK_ULONG part_len)
{
	CK_RV rv;
	struct operation *operation = take(visit, session, &rv);
	if (operation == NULL)
		return part == NULL && part_len != 0 ? CKR_ARGUMENTS_BAD : rv;
	if (part == NULL && part_len != 0)
		rv = CKR_ARGUMENTS_BAD;
	else if (!operation->multi_part)
		rv = CKR_FUNCTION_NOT_SUPPORTED;
	if (rv != CKR_OK) {
		cancel(operation);
		return rv;
	}
	operation->updated = true;
	rv = update(operation, part, part_len);
	if (rv == CKR_OK)
		keep(operation);
	else
		end(operation, false);
	return rv;
}

static CK_RV sign_final(const struct visit *visit, CK_SESSION_HANDLE session, CK_BYTE *signature, CK_ULONG *signature_len)
{
	CK_RV rv;
	struct operation *operation = take(visit, session, &rv);
	if (operation == NULL)
		return signature_len == NULL ? CKR_ARGUMENTS_BAD : rv;
	if (signature_len == NULL) {
		cancel(operation);
		return CKR_ARGUMENTS_BAD;
	}
	if (!operation->multi_part) {
		cancel(operation);
		return CKR_FUNCTION_NOT_SUPPORTED;
	}
	if (length_query(operation, signature, signature_len, &rv)) {
		keep(operation);
		return rv;
	}
	return sign_collected(operation, signature, signature_len);
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
