/*
 * The agent does not serve this host, is none, or there is no descriptor for
 * the way to it (argv[3] "descriptors"): C_Initialize says so, nothing is
 * started in its place, and the next one is the first again. With "pin" it logs
 * in with the PIN in its environment. Exit 3: refused. Exit 4: C_Initialize
 * worked, and the first call did not.
 */
#include "host.h"

#include <sys/resource.h>

static void limit_descriptors(rlim_t most)
{
	struct rlimit limit;
	CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = most;
	CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	bool descriptors = argc == 4 && strcmp(argv[3], "descriptors") == 0;
	if (descriptors)
		limit_descriptors(3);
	CK_RV rv = p11->C_Initialize(NULL);
	if (descriptors)
		limit_descriptors(64);
	CHECK(token_process() == 0);
	if (rv == CKR_OK && argc == 4 && strcmp(argv[3], "pin") == 0) {
		char *pin = getenv("PIN");
		CHECK(pin != NULL);
		rv = p11->C_Login(open_session(), CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin));
		WANT(rv, 0xA0UL); /* CKR_PIN_INCORRECT */
		return 3;
	}
	if (rv == CKR_OK) {
		CK_ULONG count;
		rv = p11->C_GetSlotList(1, NULL, &count);
		OK(p11->C_Finalize(NULL));
		return rv == CKR_OK ? 0 : 4;
	}
	WANT(rv, CKR_GENERAL_ERROR);
	WANT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
	if (!descriptors)
		return 3;
	initialize();
	sign_once();
	OK(p11->C_Finalize(NULL));
	return 3;
}
