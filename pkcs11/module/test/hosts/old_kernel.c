/*
 * An old kernel, or one that is emulated in user mode: no clone without an
 * exit signal (qemu-user), no close_range (before 5.9), no pidfd_open (before
 * 5.3). The token process starts all the same, keeps nothing of its host's
 * open, and ends when its host ends it.
 */
#include "kernel.h"

#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

static void deny_new(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
		IS(SYS_close_range, 0, 1), ERROR(ENOSYS),
		IS(SYS_pidfd_open, 0, 1), ERROR(ENOSYS),
		IS(SYS_clone, 0, 5), LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 3, 0),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, CSIGNAL),
		IS(0, 0, 1), ERROR(EINVAL),
		ANSWER(SECCOMP_RET_ALLOW),
	};
	filter(code, sizeof code / sizeof *code);
	CHECK(syscall(SYS_close_range, ~0U, ~0U, 0) < 0 && errno == ENOSYS);
	CHECK(syscall(SYS_clone, 0, 0, 0, 0, 0) < 0 && errno == EINVAL);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	deny_new();
	for (int i = 0; i < 2; i++) {
		int ends[2];
		char byte;
		CHECK(pipe(ends) == 0); /* a script's pipe: what holds it open keeps its reader waiting */
		initialize();
		CHECK(close(ends[1]) == 0);
		CHECK(read(ends[0], &byte, 1) == 0);
		CHECK(close(ends[0]) == 0);
		sign_once();
		CHECK(token_process() > 0);
		OK(p11->C_Finalize(NULL));
		for (int tries = 0; token_process() != 0; tries++) {
			CHECK(tries < 60000);
			usleep(1000);
		}
	}
	return 0;
}
