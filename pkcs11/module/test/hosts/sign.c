/* The plain case: cold start, one signature, a second one, the end. */
#include "host.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	initialize();
	sign_once();
	sign_once();
	OK(p11->C_Finalize(NULL));
	WANT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
	return 0;
}
