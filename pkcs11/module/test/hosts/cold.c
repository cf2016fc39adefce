/* Loads and starts, and reports how that went: exit 0 if C_Initialize worked, 3 if it gave CKR_GENERAL_ERROR. */
#include "host.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	CK_RV rv = p11->C_Initialize(NULL);
	if (rv == CKR_GENERAL_ERROR)
		return 3;
	OK(rv);
	CK_ULONG count = 0;
	rv = p11->C_GetSlotList(1, NULL, &count);
	p11->C_Finalize(NULL);
	return rv == CKR_OK ? 0 : rv == CKR_DEVICE_ERROR ? 4 : 1;
}
