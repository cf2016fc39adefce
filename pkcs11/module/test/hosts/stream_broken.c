/*
 * Something happens to a text on its way to the token process (relay/): the
 * operation ends with CKR_DEVICE_ERROR, once, and the session takes another.
 * argv[3] is how many parts are sent before the next call, argv[4] what that is:
 * "update" or "final" wait for the early answer, "total" does not, and for
 * "hang up" the token process is lost.
 */
#include "host.h"

#define PIECE 262144 /* what the module sends at once (WIRE_COALESCE) */

static void wait_for(const char *variable)
{
	for (int tries = 0; access(getenv(variable), F_OK) != 0; tries++) {
		CHECK(tries < 60000);
		usleep(1000);
	}
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 5);
	int parts = atoi(argv[3]);
	bool lost = strcmp(argv[4], "hang up") == 0;
	static CK_BYTE piece[PIECE], signature[1024];
	initialize();
	CK_SESSION_HANDLE session = open_session();
	log_in(session);
	CK_OBJECT_HANDLE key = find_key(session);
	CK_MECHANISM how = mechanism();
	CK_ULONG length = sizeof signature;

	OK(p11->C_SignInit(session, &how, key));
	for (int i = 0; i < parts; i++) {
		CK_RV rv = p11->C_SignUpdate(session, piece, sizeof piece);
		if (lost && rv == CKR_DEVICE_ERROR)
			break;
		OK(rv);
	}
	if (strcmp(argv[4], "update") == 0) {
		wait_for("SIGNKIT_TEST_REACHED");
		WANT(p11->C_SignUpdate(session, piece, sizeof piece), CKR_DEVICE_ERROR);
	} else {
		if (strcmp(argv[4], "final") == 0)
			wait_for("SIGNKIT_TEST_REACHED");
		WANT(p11->C_SignFinal(session, signature, &length), CKR_DEVICE_ERROR);
	}
	if (lost) {
		WANT(p11->C_SignUpdate(session, piece, sizeof piece), CKR_DEVICE_ERROR);
		WANT(p11->C_SignFinal(session, signature, &length), CKR_DEVICE_ERROR);
		OK(p11->C_Finalize(NULL));
		initialize();
		sign_once();
		OK(p11->C_Finalize(NULL));
		return 0;
	}
	WANT(p11->C_SignUpdate(session, piece, sizeof piece), CKR_OPERATION_NOT_INITIALIZED);
	WANT(p11->C_SignFinal(session, signature, &length), CKR_OPERATION_NOT_INITIALIZED);
	OK(try_sign(session, key, true));
	OK(p11->C_Finalize(NULL));
	return 0;
}
