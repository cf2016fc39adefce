/*
 * socket.c: sockets in a process that is not ours. The host may close our
 * descriptors and open its own in their place, interrupt every call with
 * signals, and set its clock; no wait is without a bound.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "socket.h"
#include "wire.h"

#define HIGH_DESCRIPTOR 200

int64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Descriptors. */

/* fstat itself is a versioned symbol in older C libraries; the system call is the same everywhere. */
static bool identify(int fd, struct descriptor *out)
{
	struct stat status;
	if (syscall(SYS_fstat, fd, &status) < 0 || !S_ISSOCK(status.st_mode))
		return false;
	*out = (struct descriptor){.fd = fd, .device = status.st_dev, .inode = status.st_ino};
	return true;
}

int descriptor_above(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR);
	if (high < 0)
		high = fd > STDERR_FILENO ? fd : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (high != fd) {
		int saved = errno;
		close(fd);
		errno = saved;
	}
	return high;
}

bool descriptor_is_ours(const struct descriptor *known)
{
	struct descriptor now;
	return known->fd >= 0 && identify(known->fd, &now) && now.device == known->device && now.inode == known->inode;
}

void descriptor_close(struct descriptor *descriptor)
{
	if (descriptor_is_ours(descriptor))
		close(descriptor->fd);
	descriptor->fd = -1;
}

void descriptor_shut(const struct descriptor *descriptor)
{
	if (descriptor_is_ours(descriptor))
		shutdown(descriptor->fd, SHUT_RDWR);
}

bool descriptor_ended(const struct descriptor *descriptor)
{
	char peek;
	ssize_t got = recv(descriptor->fd, &peek, sizeof peek, MSG_PEEK | MSG_DONTWAIT);
	return got == 0 || (got < 0 && errno != EAGAIN);
}

/* A blocking socket whose every wait ends after a while, and is then taken up again. */
static void bound_waits(int fd)
{
	struct timeval limit = {.tv_sec = WIRE_WORKING_INTERVAL / 1000};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

/* While the token process hashes one message the host puts the next into the socket; the usual buffer is smaller than one. */
static void make_room(int fd)
{
	int room = 2 * WIRE_COALESCE;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room); /* as far as net.core.wmem_max allows */
}

/* adopt makes a new socket one of ours. It closes the socket where that fails. */
static bool adopt(int fd, struct descriptor *ours)
{
	fd = descriptor_above(fd);
	if (fd < 0 || !identify(fd, ours)) {
		int saved = errno;
		if (fd >= 0)
			close(fd);
		errno = saved;
		return false;
	}
	bound_waits(fd);
	make_room(fd);
	return true;
}

bool descriptor_unconnected(int type, struct descriptor *ours)
{
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	return fd >= 0 && adopt(fd, ours);
}

bool descriptor_pair(int type, struct descriptor *ours, int *theirs)
{
	int pair[2];
	if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
		return false;
	if (!adopt(pair[0], ours)) {
		int saved = errno;
		close(pair[1]);
		errno = saved;
		return false;
	}
	*theirs = descriptor_above(pair[1]); /* a host without 0 to 2 must not print into it */
	if (*theirs < 0) {
		int saved = errno;
		close(ours->fd);
		errno = saved;
		return false;
	}
	return true;
}

bool descriptor_wait(const struct descriptor *socket, short events, int error, int64_t began, int64_t *waited)
{
	if (error != EINTR && error != EAGAIN)
		return false;
	int64_t took = now_ms() - began;
	if (error == EAGAIN && took < WIRE_WORKING_INTERVAL / 2) {
		struct pollfd ready = {.fd = socket != NULL ? socket->fd : -1, .events = events};
		poll(&ready, 1, (int)(WIRE_WORKING_INTERVAL - took));
		took = now_ms() - began + 1; /* readiness that leads nowhere has an end too */
	}
	*waited += took < WIRE_WORKING_INTERVAL ? took : WIRE_WORKING_INTERVAL;
	return *waited < WIRE_SILENCE;
}

/*
 * Messages: bounded, restarted after signals. A long call is many waits, and the
 * host may put a descriptor of its own in our place between any two.
 */

bool descriptor_send(const struct descriptor *socket, struct iovec *parts, size_t count)
{
	int64_t waited = 0;
	while (count > 0) {
		struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
		if (!descriptor_is_ours(socket))
			return false;
		int64_t began = now_ms();
		ssize_t sent = sendmsg(socket->fd, &message, MSG_NOSIGNAL);
		if (sent < 0) {
			if (!descriptor_wait(socket, POLLOUT, errno, began, &waited))
				return false;
			continue;
		}
		waited = 0;
		size_t left = (size_t)sent;
		while (count > 0 && left >= parts->iov_len) {
			left -= parts->iov_len;
			parts++;
			count--;
		}
		if (count > 0) {
			parts->iov_base = (char *)parts->iov_base + left;
			parts->iov_len -= left;
		}
	}
	return true;
}

bool descriptor_receive(const struct descriptor *socket, void *buffer, size_t size)
{
	int64_t waited = 0;
	char *at = buffer;
	while (size > 0) {
		struct iovec part = {.iov_base = at, .iov_len = size};
		struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
		if (!descriptor_is_ours(socket))
			return false;
		int64_t began = now_ms();
		ssize_t got = recvmsg(socket->fd, &message, 0);
		if (got == 0)
			return false;
		if (got < 0) {
			if (!descriptor_wait(socket, POLLIN, errno, began, &waited))
				return false;
			continue;
		}
		waited = 0;
		at += got;
		size -= (size_t)got;
	}
	return true;
}

bool descriptor_try_packet(const struct descriptor *socket, const void *data, size_t size, int passed)
{
	struct iovec part = {.iov_base = (void *)data, .iov_len = size};
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} ancillary = {0};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (passed >= 0) {
		message.msg_control = ancillary.space;
		message.msg_controllen = sizeof ancillary.space;
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &passed, sizeof(int));
	}
	if (!descriptor_is_ours(socket)) {
		errno = EBADF;
		return false;
	}
	return sendmsg(socket->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
}

bool descriptor_send_packet(const struct descriptor *socket, const void *data, size_t size, int passed)
{
	int64_t waited = 0;
	for (;;) {
		int64_t began = now_ms();
		if (descriptor_try_packet(socket, data, size, passed))
			return true;
		int reason = errno;
		bool again = descriptor_wait(socket, POLLOUT, reason, began, &waited);
		errno = reason;
		if (!again)
			return false;
	}
}
