/*
 * A host that called unshare(CLONE_NEWPID): its next child will be the first
 * process of a namespace, and must not be ours. C_Initialize says so; the host
 * can still fork, its child can start the module, and so can the host itself
 * once that child is there.
 */
#include "kernel.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	initialize(); /* before, it works */
	sign_once();
	if (unshare(CLONE_NEWPID) != 0)
		SKIP("no new PID namespace");
	sign_once();
	OK(p11->C_Finalize(NULL));
	WANT(p11->C_Initialize(NULL), CKR_GENERAL_ERROR);
	int done[2];
	CHECK(pipe(done) == 0);
	pid_t child = fork();
	CHECK(child > 0 || (child == 0 && getpid() == 1));
	if (child == 0) {
		char byte;
		OK(p11->C_Initialize(NULL));
		sign_once();
		OK(p11->C_Finalize(NULL));
		close(done[1]);
		CHECK(read(done[0], &byte, 1) == 0);
		_exit(0);
	}
	OK(p11->C_Initialize(NULL));
	sign_once();
	OK(p11->C_Finalize(NULL));
	close(done[0]);
	close(done[1]);
	succeed(child);
	return 0;
}
