/* socket.h: descriptors that are told from the host's own, and bounded waits on them. */
#ifndef SIGNKIT_SOCKET_H
#define SIGNKIT_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* A descriptor with what tells it from one that the host put in its place. */
struct descriptor {
	int fd;
	dev_t device;
	ino_t inode;
};

/* now_ms is a clock that nobody sets. */
int64_t now_ms(void);

/* descriptor_above moves fd to a number ≥ 200, or ≥ 3 where limits forbid that; -1 if neither. Closes fd. */
int descriptor_above(int fd);

/* descriptor_pair makes a pair, ours first; errno tells why not. */
bool descriptor_pair(int type, struct descriptor *ours, int *theirs);
/* descriptor_unconnected makes a socket that is to be connected; errno tells why not. */
bool descriptor_unconnected(int type, struct descriptor *ours);
/* descriptor_is_ours reports whether it is still what it was. */
bool descriptor_is_ours(const struct descriptor *known);
/* descriptor_close closes a descriptor that is still ours, and forgets it. */
void descriptor_close(struct descriptor *descriptor);
/* descriptor_shut wakes whoever waits for one that is still ours. */
void descriptor_shut(const struct descriptor *descriptor);
/* descriptor_ended tells one whose other end is closed from one that is silent. */
bool descriptor_ended(const struct descriptor *descriptor);

/*
 * descriptor_wait follows a call that failed with `error`, and says whether it is
 * to be tried again. It adds the wait that began at `began` to those before: too
 * many are the other side's silence. Where one lasts longer than its limit, the
 * host was stopped (Ctrl-Z, a frozen container), and that is not.
 *
 * This is the one policy for sockets that a host has made non-blocking: what the
 * call has not waited for `events` is waited here. Without a socket it only waits.
 */
bool descriptor_wait(const struct descriptor *socket, short events, int error, int64_t began, int64_t *waited);

/* descriptor_send and descriptor_receive end when all is done, nothing was for WIRE_SILENCE, or the descriptor is no longer ours. */
bool descriptor_send(const struct descriptor *socket, struct iovec *parts, size_t count);
bool descriptor_receive(const struct descriptor *socket, void *buffer, size_t size);
/* descriptor_send_packet sends one packet, and with it the descriptor `passed` unless that is -1; errno tells why not. */
bool descriptor_send_packet(const struct descriptor *socket, const void *data, size_t size, int passed);
/* descriptor_try_packet does so without waiting: EAGAIN. */
bool descriptor_try_packet(const struct descriptor *socket, const void *data, size_t size, int passed);

#endif
