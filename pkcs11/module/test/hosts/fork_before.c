/* A fork after dlopen, before C_Initialize: parent and child each start and sign. */
#include "host.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	pid_t child = fork();
	CHECK(child >= 0);
	initialize();
	sign_once();
	OK(p11->C_Finalize(NULL));
	if (child != 0)
		succeed(child);
	return 0;
}
