/*
 * replies.c: a token process that answers anything at all, for libFuzzer
 * (LLVMFuzzerTestOneInput) and for the corpus' replay (replay.c). The module's
 * own files are linked unchanged; the calls by which they meet the token process
 * are wrapped (ld --wrap, see scripts/fuzz-module.sh): what the module sends is
 * dropped, and what it receives comes from the input.
 *
 * The input:  chunk  steps  steps × {call, size, flags, extra}  what is received
 *   chunk   bytes that one recvmsg gives and one sendmsg takes at most; 0 is any number.
 *           Its top bit: the greetings of data sockets come from the input too
 *   call    an entry point (calls below); size, flags and extra: its arguments
 *
 * Whatever is received: the module touches no memory but its own and what it
 * was given, believes no length it has not checked, and loses no descriptor.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "../connect.h"
#include "../cryptoki.h"
#include "../wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition) do { if (!(condition)) { fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); abort(); } } while (0)

#define STEPS_MAX 32
#define LARGE 300000 /* more than the module collects of a text (WIRE_COALESCE) */

struct step {
	uint8_t call, size, flags, extra;
};

enum {
	FLAG_NO_BUFFER = 1,  /* ask for a length, or leave a pointer out */
	FLAG_QUIET = 2,      /* nothing has been received yet */
	FLAG_BROKEN = 4,     /* sending fails */
	FLAG_CONTROL = 8,    /* the control socket has ended */
	FLAG_INTERRUPT = 16, /* signals arrive */
	FLAG_WRONG = 32,     /* arguments that the standard forbids */
	FLAG_MISSING = 64,   /* data that is not there */
	FLAG_OTHER = 128,    /* the second of two entry points */
};

/* The input that is being run. */
static const uint8_t *stream;
static size_t stream_left, chunk;
static bool own_greeting;
static uint8_t flags;
static unsigned turn;
static CK_BYTE text[LARGE];

/* What the module meets instead of a token process. */

bool __wrap_spawn_token_process(int control, pid_t *child);
void __wrap_reap_token_process(pid_t child);
void __wrap_complain(const char *format, ...);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int how);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int how);
ssize_t __wrap_recv(int fd, void *buffer, size_t size, int how);
ssize_t __real_recvmsg(int fd, struct msghdr *message, int how);

bool __wrap_spawn_token_process(int control, pid_t *child)
{
	(void)control;
	*child = 0;
	return true;
}

void __wrap_reap_token_process(pid_t child)
{
	(void)child;
}

void __wrap_complain(const char *format, ...)
{
	(void)format;
}

static bool interrupted(void)
{
	if (!(flags & FLAG_INTERRUPT) || ++turn % 3 != 0)
		return false;
	errno = EINTR;
	return true;
}

/* greet writes the right greeting into the other end of a data socket. */
static void greet(int theirs)
{
	struct wire_hello hello = {.magic = WIRE_MAGIC, .version = WIRE_VERSION, .ulong_size = sizeof(CK_ULONG)};
	memcpy(hello.build_id, SIGNKIT_VERSION, sizeof SIGNKIT_VERSION);
	REQUIRE(write(theirs, &hello, sizeof hello) == (ssize_t)sizeof hello);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int how)
{
	(void)fd;
	REQUIRE((how & ~MSG_DONTWAIT) == MSG_NOSIGNAL); /* of the control socket it does not wait */
	if (interrupted())
		return -1;
	if (flags & FLAG_BROKEN) {
		errno = EPIPE;
		return -1;
	}
	size_t total = 0;
	for (size_t i = 0; i < message->msg_iovlen; i++) {
		const volatile uint8_t *bytes = message->msg_iov[i].iov_base;
		size_t length = message->msg_iov[i].iov_len;
		if (length > 0)
			(void)(bytes[0] + bytes[length - 1]); /* the sanitizer looks */
		total += length;
	}
	if (message->msg_control != NULL) { /* a packet of the control socket is taken whole */
		struct cmsghdr *header = CMSG_FIRSTHDR(message);
		int theirs;
		memcpy(&theirs, CMSG_DATA(header), sizeof theirs);
		if (total == 1 && !own_greeting)
			greet(theirs);
		return (ssize_t)total;
	}
	return (ssize_t)(chunk != 0 && total > chunk && total > sizeof(struct wire_hello) ? chunk : total);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int how)
{
	REQUIRE(message->msg_iovlen == 1);
	uint8_t *to = message->msg_iov->iov_base;
	size_t room = message->msg_iov->iov_len, got = 0;
	if (!(how & MSG_DONTWAIT) && interrupted())
		return -1;
	ssize_t greeting = __real_recvmsg(fd, message, how | MSG_DONTWAIT);
	if (greeting > 0)
		got = (size_t)greeting;
	if (got > 0 && !(how & MSG_PEEK))
		return (ssize_t)got;
	if ((how & MSG_DONTWAIT) && (flags & FLAG_QUIET)) {
		errno = EAGAIN;
		return got > 0 ? (ssize_t)got : -1;
	}
	size_t take = room - got;
	if (take > stream_left)
		take = stream_left;
	if (chunk != 0 && take > chunk)
		take = chunk;
	if (take > 0)
		memcpy(to + got, stream, take);
	if (!(how & MSG_PEEK)) {
		stream += take;
		stream_left -= take;
	}
	return (ssize_t)(got + take);
}

ssize_t __wrap_recv(int fd, void *buffer, size_t size, int how)
{
	(void)fd;
	(void)buffer;
	(void)size;
	REQUIRE(how == (MSG_PEEK | MSG_DONTWAIT));
	errno = EAGAIN;
	return flags & FLAG_CONTROL ? 0 : -1;
}

/* What the host does. Buffers are exactly as long as the module is told. */

static void *buffer(const struct step *step, size_t size)
{
	if (step->flags & FLAG_NO_BUFFER)
		return NULL;
	void *out = malloc(size > 0 ? size : 1); /* a length query is something else */
	REQUIRE(out != NULL);
	return out;
}

static size_t length_of(const struct step *step)
{
	static const size_t lengths[] = {0, 1, 100, 4096, 65537, WIRE_COALESCE - 1, WIRE_COALESCE, LARGE};
	return lengths[step->size % 8];
}

static void get_list(const struct step *step, CK_RV (*call)(const struct step *, CK_ULONG *, CK_ULONG *))
{
	CK_ULONG room = step->size, count = room, *list = buffer(step, room * sizeof *list);
	CK_RV rv = call(step, list, &count);
	REQUIRE(rv != CKR_OK || list == NULL || count <= room);
	free(list);
}

static CK_RV slot_list(const struct step *step, CK_ULONG *list, CK_ULONG *count)
{
	return C_GetSlotList(step->extra & 1, list, count);
}

static CK_RV mechanism_list(const struct step *step, CK_ULONG *list, CK_ULONG *count)
{
	return C_GetMechanismList(step->extra, list, count);
}

static CK_RV found(const struct step *step, CK_ULONG *list, CK_ULONG *count)
{
	return C_FindObjects(step->extra, list, *count, count);
}

static void get_attributes(const struct step *step)
{
	CK_ULONG count = step->size % 8, rooms[8];
	CK_ATTRIBUTE *template = calloc(count + 1, sizeof *template);
	REQUIRE(template != NULL);
	for (CK_ULONG i = 0; i < count; i++) {
		rooms[i] = (CK_ULONG)((step->extra >> (i % 4)) * (i + 1)) % 300;
		template[i].type = i;
		template[i].ulValueLen = rooms[i];
		template[i].pValue = (step->size >> 3) & (1U << (i % 5)) ? NULL : buffer(step, rooms[i]);
	}
	CK_RV rv = C_GetAttributeValue(step->extra, 1, step->flags & FLAG_WRONG ? NULL : template, count);
	for (CK_ULONG i = 0; i < count; i++) {
		REQUIRE(rv != CKR_OK || template[i].pValue == NULL || template[i].ulValueLen <= rooms[i] || template[i].ulValueLen == CK_UNAVAILABLE_INFORMATION);
		free(template[i].pValue);
	}
	free(template);
}

static void find_init(const struct step *step)
{
	CK_ATTRIBUTE template[4];
	for (CK_ULONG i = 0; i < 4; i++)
		template[i] = (CK_ATTRIBUTE){.type = i, .pValue = step->flags & FLAG_MISSING ? NULL : text, .ulValueLen = i * step->extra};
	(void)C_FindObjectsInit(step->extra % 4, step->flags & FLAG_NO_BUFFER ? NULL : template, step->size % 5);
}

static void sign_init(const struct step *step)
{
	CK_MECHANISM mechanism = {.mechanism = step->size, .pParameter = step->size % 2 ? text : NULL, .ulParameterLen = step->size % 2 ? step->size : 0};
	if (step->flags & FLAG_WRONG)
		mechanism.ulParameterLen = WIRE_MAX_PAYLOAD;
	(void)C_SignInit(step->extra % 4, step->flags & FLAG_NO_BUFFER ? NULL : &mechanism, 1);
}

/* sign ends an operation; the room for the signature is three times extra. */
static void sign(const struct step *step)
{
	CK_ULONG room = (CK_ULONG)step->extra * 3, length = room, *where = step->flags & FLAG_WRONG ? NULL : &length;
	CK_BYTE *signature = buffer(step, room), *data = step->flags & FLAG_MISSING ? NULL : text;
	CK_SESSION_HANDLE session = step->size >> 6;
	CK_RV rv = step->flags & FLAG_OTHER ? C_Sign(session, data, length_of(step), signature, where) : C_SignFinal(session, signature, where);
	REQUIRE(rv != CKR_OK || signature == NULL || (length > 0 && length <= room));
	free(signature);
}

static void sign_update(const struct step *step)
{
	(void)C_SignUpdate(step->extra % 4, step->flags & FLAG_MISSING ? NULL : text, length_of(step));
}

static void random_bytes(const struct step *step)
{
	size_t length = length_of(step);
	CK_BYTE *out = buffer(step, length);
	(void)C_GenerateRandom(step->extra, out, length);
	free(out);
}

/* fixed calls an entry point that fills a structure. */
#define FIXED(type, call) do { type *out = buffer(step, sizeof *out); (void)(call); free(out); } while (0)

static void run(const struct step *step)
{
	CK_ULONG number = step->extra;
	switch (step->call % 20) {
	case 0: (void)C_Initialize(NULL); break;
	case 1: (void)C_Finalize(NULL); break;
	case 2: get_list(step, slot_list); break;
	case 3: FIXED(CK_SLOT_INFO, C_GetSlotInfo(number, out)); break;
	case 4: FIXED(CK_TOKEN_INFO, C_GetTokenInfo(number, out)); break;
	case 5: get_list(step, mechanism_list); break;
	case 6: FIXED(CK_MECHANISM_INFO, C_GetMechanismInfo(number, step->size, out)); break;
	case 7: FIXED(CK_SESSION_HANDLE, C_OpenSession(number, 4, NULL, NULL, out)); break;
	case 8: (void)C_CloseSession(number % 4); break;
	case 9: (void)(step->flags & FLAG_OTHER ? C_CloseAllSessions : C_Logout)(number); break;
	case 10: FIXED(CK_SESSION_INFO, C_GetSessionInfo(number, out)); break;
	case 11: (void)C_Login(number, 1, text, length_of(step)); break;
	case 12: find_init(step); break;
	case 13: get_list(step, found); break;
	case 14: (void)C_FindObjectsFinal(number); break;
	case 15: get_attributes(step); break;
	case 16: FIXED(CK_ULONG, C_GetObjectSize(number, step->size, out)); break;
	case 17: sign_init(step); break;
	case 18: sign(step); break;
	case 19: (step->flags & FLAG_OTHER ? random_bytes : sign_update)(step); break;
	}
}

/* next_descriptor is where the module's next socket would be: another number than at first means that one is lost. */
static int next_descriptor(void)
{
	int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 200);
	if (fd >= 0)
		close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct step steps[STEPS_MAX];
	if (size < 2)
		return 0;
	chunk = data[0] & 127;
	own_greeting = data[0] & 128;
	size_t count = data[1] % (STEPS_MAX + 1);
	data += 2;
	size -= 2;
	if (count > size / sizeof *steps)
		count = size / sizeof *steps;
	if (count > 0)
		memcpy(steps, data, count * sizeof *steps);
	stream = data + count * sizeof *steps;
	stream_left = size - count * sizeof *steps;
	turn = 0;

	static int first;
	flags = 0;
	if (first == 0)
		first = next_descriptor();
	(void)C_Initialize(NULL);
	for (size_t i = 0; i < count; i++) {
		flags = steps[i].flags;
		run(&steps[i]);
	}
	flags = 0;
	(void)C_Finalize(NULL);
	REQUIRE(C_Finalize(NULL) == CKR_CRYPTOKI_NOT_INITIALIZED);
	REQUIRE(next_descriptor() == first);
	return 0;
}
