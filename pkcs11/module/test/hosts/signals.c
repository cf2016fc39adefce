/* A timer signal every millisecond, handled on a small stack of its own, while a thread signs. */
#include "host.h"

#include <sys/time.h>

static volatile sig_atomic_t ticks;

static void tick(int number)
{
	(void)number;
	ticks++;
}

int main(int argc, char **argv)
{
	static char small[16384];
	stack_t stack = {.ss_sp = small, .ss_size = sizeof small};
	CHECK(sigaltstack(&stack, NULL) == 0);
	struct sigaction action = {.sa_handler = tick, .sa_flags = SA_ONSTACK};
	CHECK(sigaction(SIGALRM, &action, NULL) == 0);
	struct itimerval every = {{0, 1000}, {0, 1000}};
	CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
	begin(argc, argv);
	for (int i = 0; i < 10; i++) {
		initialize();
		sign_once();
		OK(p11->C_Finalize(NULL));
	}
	CHECK(ticks > 0);
	return 0;
}
