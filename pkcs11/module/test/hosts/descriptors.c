/*
 * A host that closes every descriptor above 2 and opens its own in their
 * place: what it opened gets no byte from us and is not closed; calls fail,
 * and a new start works.
 */
#include "host.h"

#include <sys/socket.h>

int main(int argc, char **argv)
{
	begin(argc, argv);
	initialize();
	sign_once();
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	int pair[2], taken[64];
	CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	for (int i = 0; i < 64; i++) {
		taken[i] = fcntl(pair[0], F_DUPFD, 200);
		CHECK(taken[i] >= 200);
	}
	CK_SESSION_HANDLE session;
	WANT(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_DEVICE_ERROR);
	CK_RV rv = p11->C_Initialize(NULL);
	CHECK(rv == CKR_OK);
	sign_once();
	OK(p11->C_Finalize(NULL));
	char byte;
	CHECK(read(pair[1], &byte, 1) < 0 && errno == EAGAIN);
	for (int i = 0; i < 64; i++)
		CHECK(fcntl(taken[i], F_GETFD) >= 0);
	return 0;
}
