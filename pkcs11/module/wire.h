/*
 * wire.h: the messages between the module and its token process, or an agent.
 *
 * Both run on one machine and are built for one architecture, so numbers are
 * in the host's byte order. The Go side is ../wire; a test keeps both equal.
 *
 * Control socket (SOCK_SEQPACKET). The module sends one struct wire_hello, with
 * its standard output attached (SCM_RIGHTS) where it has one, and then one
 * packet of the byte WIRE_DATA_SOCKET per data socket, with the token
 * process's end attached. End of file means that the module is gone.
 *
 * With an agent the control socket is a connection to it. The module's greeting
 * then has its standard error attached, and the agent answers with its own, also
 * where the versions differ; to a user whom it does not serve it hangs up.
 *
 * Data socket (SOCK_STREAM). The token process first writes its own struct
 * wire_hello. Then the module writes requests (struct wire_request and length
 * bytes) and the token process answers each with one struct wire_reply and
 * length bytes, possibly after replies of kind WIRE_WORKING. WIRE_SIGN_UPDATE
 * has no answer unless it fails: then one answer is sent, and the rest of that
 * operation is dropped; the module closes such a socket.
 */
#ifndef SIGNKIT_WIRE_H
#define SIGNKIT_WIRE_H

#include <stdint.h>

#define WIRE_MAGIC 0x746B6773
#define WIRE_VERSION 1
#define WIRE_BUILD_ID_SIZE 48
#define WIRE_DATA_SOCKET 68
#define WIRE_CONTROL_FD 3

/* The largest payload of a request that is not WIRE_SIGN_UPDATE, and of a reply. */
#define WIRE_MAX_PAYLOAD 4194304
/* The largest payload of one WIRE_SIGN_UPDATE, and how much the module coalesces. */
#define WIRE_MAX_UPDATE 67108864
#define WIRE_COALESCE 262144

/* A call in progress is announced this often (milliseconds) … */
#define WIRE_WORKING_INTERVAL 2000
/* … and silence for this long means that the token process is lost. (Tests build a module that is less patient.) */
#ifndef WIRE_SILENCE
#define WIRE_SILENCE 20000
#endif

#define WIRE_ANSWER 0
#define WIRE_WORKING 1

/* Calls: what handle and number hold, what the payload is → value and payload of the reply. */
#define WIRE_CHECK_SESSION 1 /* session */
#define WIRE_GET_SLOT_LIST 2 /* -, token present → slots */
#define WIRE_GET_SLOT_INFO 3 /* slot → CK_SLOT_INFO */
#define WIRE_GET_TOKEN_INFO 4 /* slot → CK_TOKEN_INFO */
#define WIRE_GET_MECHANISM_LIST 5 /* slot → types */
#define WIRE_GET_MECHANISM_INFO 6 /* slot, type → CK_MECHANISM_INFO */
#define WIRE_OPEN_SESSION 7 /* slot, flags → value: session */
#define WIRE_CLOSE_SESSION 8 /* session */
#define WIRE_CLOSE_ALL_SESSIONS 9 /* slot */
#define WIRE_GET_SESSION_INFO 10 /* session → CK_SESSION_INFO */
#define WIRE_LOGIN 11 /* session, user type, PIN */
#define WIRE_LOGOUT 12 /* session */
#define WIRE_FIND_INIT 13 /* session, count, attributes {type, length, bytes} */
#define WIRE_FIND 14 /* session, max → objects */
#define WIRE_FIND_FINAL 15 /* session */
#define WIRE_GET_ATTRIBUTES 16 /* session, object, types → values {length or ~0, bytes} */
#define WIRE_GET_OBJECT_SIZE 17 /* session, object → value: size or ~0 */
#define WIRE_SIGN_INIT 18 /* session, key, {mechanism, parameter} → value: signature length; payload: WIRE_MULTI_PART or 0 */
#define WIRE_SIGN 19 /* session, -, data → signature */
#define WIRE_SIGN_UPDATE 20 /* session, sequence number from 0, part; no answer */
#define WIRE_SIGN_FINAL 21 /* session, bytes sent by updates → signature */
#define WIRE_SIGN_CANCEL 22 /* session */
#define WIRE_GENERATE_RANDOM 23 /* session, length → bytes */

#define WIRE_MULTI_PART 1

struct wire_hello {
	uint32_t magic;
	uint32_t version;
	uint32_t ulong_size;
	uint32_t reserved;
	char build_id[WIRE_BUILD_ID_SIZE];
};

struct wire_request {
	uint32_t call;
	uint32_t length;
	uint64_t handle;
	uint64_t number;
};

struct wire_reply {
	uint32_t kind;
	uint32_t length;
	uint64_t rv;
	uint64_t value;
};

#endif
