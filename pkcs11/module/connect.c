/*
 * connect.c: the agent that SIGNKIT_AGENT names, in the place of a token
 * process. It runs as the user of this program or as root, and for nobody else
 * is a PIN or a hash meant: who is at the other end is asked of the kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "module.h"

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

bool agent_connect(const struct descriptor *control, const struct sockaddr_un *address)
{
	int64_t waited = 0;
	for (;;) {
		int64_t began = now_ms();
		if (!is_ours(control))
			return false;
		if (connect(control->fd, (const struct sockaddr *)address, sizeof *address) == 0)
			return trusted(control->fd, address->sun_path);
		int reason = errno;
		if (!silent(reason, now_ms() - began, &waited))
			continue;
		complain("signkit: cannot connect to the agent at %s (SIGNKIT_AGENT): %s%s", address->sun_path,
			 reason == EAGAIN ? "it takes no connection" : strerror(reason),
			 reason == ENOENT || reason == ECONNREFUSED ? "; it ends with the signkit run or signkit agent that made it" : "");
		return false;
	}
}
