/* The host exports functions of the same names (as p11-kit does): the module still calls its own. */
#include "host.h"

__attribute__((visibility("default"))) CK_RV C_GetSlotList(CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count)
{
	(void)present, (void)list, (void)count;
	FAIL("the host's C_GetSlotList was called");
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	(void)list;
	FAIL("the host's C_GetFunctionList was called");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	initialize();
	CK_ULONG count = 0;
	OK(p11->C_GetSlotList(1, NULL, &count));
	CHECK(count == 1);
	sign_once();
	OK(p11->C_Finalize(NULL));
	return 0;
}
