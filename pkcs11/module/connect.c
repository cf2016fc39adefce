/*
 * connect.c: greetings, and the agent that SIGNKIT_AGENT names, in the place of
 * a token process. It runs as the user of this program or as root, and for nobody else
 * is a PIN or a hash meant: who is at the other end is asked of the kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connect.h"
#include "console.h"
#include "cryptoki.h"

_Static_assert(sizeof(CK_ULONG) == 8, "the wire carries 64-bit numbers");
_Static_assert(sizeof(SIGNKIT_VERSION) <= WIRE_BUILD_ID_SIZE, "the version is the build id");

#define TRUSTED_USER 0 /* root, who can do what we can anyway */

const char *agent_named(void)
{
	const char *path = secure_getenv("SIGNKIT_AGENT");
	return path != NULL && *path != '\0' ? path : NULL;
}

bool agent_address(const char *path, struct sockaddr_un *address)
{
	size_t length = strlen(path);
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (path[0] != '/' || length >= sizeof address->sun_path) {
		complain("signkit: SIGNKIT_AGENT must be the absolute path of an agent's socket, of at most %zu bytes, and is not", sizeof address->sun_path - 1);
		return false;
	}
	memcpy(address->sun_path, path, length + 1);
	return true;
}

/* trusted asks who listened there: whoever has the socket now need not be who made its name. */
static bool trusted(int fd, const char *path)
{
	struct ucred peer;
	socklen_t size = sizeof peer;
	uid_t us = geteuid();
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || size != sizeof peer) {
		complain("signkit: cannot tell whose the agent at %s is: %s", path, strerror(errno));
		return false;
	}
	if (peer.uid == us || peer.uid == TRUSTED_USER)
		return true;
	complain("signkit: the agent at %s (SIGNKIT_AGENT) belongs to user %lld, and this program to user %lld: only an agent of the same user, or of root, is asked",
		 path, (long long)peer.uid, (long long)us);
	return false;
}

/* Greetings. */

static struct wire_hello hello(void)
{
	struct wire_hello out = {.magic = WIRE_MAGIC, .version = WIRE_VERSION, .ulong_size = sizeof(CK_ULONG)};
	memcpy(out.build_id, SIGNKIT_VERSION, sizeof SIGNKIT_VERSION);
	return out;
}

/* Our standard output is passed on: the log may go there where a setting says so. */
bool greet_token_process(const struct descriptor *control)
{
	struct wire_hello ours = hello();
	int out = fcntl(STDOUT_FILENO, F_GETFD) >= 0 ? STDOUT_FILENO : -1;
	return descriptor_send_packet(control, &ours, sizeof ours, out) || descriptor_send_packet(control, &ours, sizeof ours, -1);
}

/* readable makes the version of a greeting fit for a terminal. */
static const char *readable(struct wire_hello *theirs)
{
	char *at = theirs->build_id, *end = at + sizeof theirs->build_id - 1;
	for (; at < end && *at != '\0'; at++)
		if (*at < ' ' || *at > '~')
			*at = '?';
	*at = '\0';
	return theirs->build_id;
}

bool greeting_fits(struct wire_hello *theirs, bool agent)
{
	struct wire_hello ours = hello();
	if (memcmp(&ours, theirs, sizeof ours) == 0)
		return true;
	if (agent && theirs->magic != WIRE_MAGIC)
		complain("signkit: what SIGNKIT_AGENT names is no agent of signkit");
	else if (agent)
		complain("signkit: the agent is of version %s and this module of version %s: install both from one release",
			 readable(theirs), SIGNKIT_VERSION);
	else
		complain("signkit: this module (version %s) was given a token process of another version: install both files from one release",
			 SIGNKIT_VERSION);
	return false;
}

/* refused_by is for an agent that hangs up before it has greeted. */
static bool refused_by(const char *path)
{
	complain("signkit: the agent at %s (SIGNKIT_AGENT) refused this program; it serves its own user, and those that signkit agent --allow-uid names", path);
	return false;
}

/*
 * greet_agent passes our standard error on: what a person must know is then
 * where the program's own messages are. The agent answers with its greeting, or
 * hangs up.
 */
static bool greet_agent(const struct descriptor *control, const char *path)
{
	struct wire_hello ours = hello(), theirs;
	int err = fcntl(STDERR_FILENO, F_GETFD) >= 0 ? STDERR_FILENO : -1;
	if (!descriptor_send_packet(control, &ours, sizeof ours, err) && !descriptor_send_packet(control, &ours, sizeof ours, -1)) {
		if (errno == EPIPE || errno == ECONNRESET)
			return refused_by(path);
		complain("signkit: cannot greet the agent at %s (SIGNKIT_AGENT): %s", path, strerror(errno));
		return false;
	}
	if (descriptor_receive(control, &theirs, sizeof theirs))
		return greeting_fits(&theirs, true);
	char peek;
	if (!descriptor_is_ours(control) || recv(control->fd, &peek, sizeof peek, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN)
		return refused_by(path);
	complain("signkit: the agent at %s (SIGNKIT_AGENT) has been silent for %d s", path, WIRE_SILENCE / 1000);
	return false;
}

bool agent_connect(const struct descriptor *control, const struct sockaddr_un *address)
{
	int64_t waited = 0;
	for (;;) {
		int64_t began = now_ms();
		if (!descriptor_is_ours(control))
			return false;
		if (connect(control->fd, (const struct sockaddr *)address, sizeof *address) == 0)
			return trusted(control->fd, address->sun_path) && greet_agent(control, address->sun_path);
		int reason = errno;
		if (descriptor_wait(NULL, 0, reason, began, &waited))
			continue;
		complain("signkit: cannot connect to the agent at %s (SIGNKIT_AGENT): %s%s", address->sun_path,
			 reason == EAGAIN ? "it takes no connection" : strerror(reason),
			 reason == ENOENT || reason == ECONNREFUSED ? "; it ends with the signkit run or signkit agent that made it" : "");
		return false;
	}
}
