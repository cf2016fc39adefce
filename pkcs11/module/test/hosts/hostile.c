/*
 * A host that would hand much down to a process that it starts: all signals
 * blocked or ignored, inheritable descriptors, secrets in its environment.
 */
#include "host.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	for (int number = 1; number < 65; number++)
		signal(number, SIG_IGN); /* where that is possible */
	sigset_t all;
	sigfillset(&all);
	CHECK(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
	int fd = open("/dev/zero", O_RDWR);
	for (int number = 4; number < 40; number++)
		CHECK(dup2(fd, number) == number);
	CHECK(fcntl(fd, F_DUPFD, 900) >= 900);
	CHECK(setenv("GODEBUG", "http2debug=2", 1) == 0 && setenv("GITHUB_TOKEN", "secret", 1) == 0 && setenv("SIGNKIT_DESCRIPTION", "kept", 1) == 0);
	CK_RV rv = p11->C_Initialize(NULL);
	if (rv == CKR_OK) {
		CK_ULONG count;
		WANT(p11->C_GetSlotList(1, NULL, &count), CKR_DEVICE_ERROR); /* this one answers nothing */
		p11->C_Finalize(NULL);
	}
	return rv == CKR_OK ? 0 : 3;
}
