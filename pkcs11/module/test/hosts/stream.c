/* The text arrives in pieces of many sizes, also none; the hash is that of "hello" repeated argv[3] times. */
#include "host.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 4);
	long times = atol(argv[3]);
	size_t size = 5 * (size_t)times, at = 0, piece = 1;
	CK_BYTE *text = malloc(size + 1), signature[1024];
	CHECK(text != NULL);
	for (long i = 0; i < times; i++)
		memcpy(text + 5 * i, "hello", 5);
	initialize();
	CK_SESSION_HANDLE session = open_session();
	log_in(session);
	CK_OBJECT_HANDLE key = find_key(session);
	CK_MECHANISM how = mechanism();
	CK_ULONG length = 0;

	OK(p11->C_SignInit(session, &how, key));
	while (at < size) {
		size_t now = piece < size - at ? piece : size - at;
		OK(p11->C_SignUpdate(session, text + at, now));
		at += now;
		piece = piece * 3 + 1 < 1000000 ? piece * 3 + 1 : 0;
		if (piece == 0) {
			OK(p11->C_SignUpdate(session, NULL, 0));
			piece = 7;
		}
	}
	OK(p11->C_SignFinal(session, NULL, &length));
	CHECK(length > 0);
	CK_ULONG wanted = length;
	length--;
	WANT(p11->C_SignFinal(session, signature, &length), CKR_BUFFER_TOO_SMALL);
	CHECK(length == wanted);
	OK(p11->C_SignFinal(session, signature, &length));
	print_signature(signature, length);
	WANT(p11->C_SignFinal(session, signature, &length), CKR_OPERATION_NOT_INITIALIZED);

	/* The same at once. */
	OK(p11->C_SignInit(session, &how, key));
	length = sizeof signature;
	OK(p11->C_Sign(session, text, size, signature, &length));
	print_signature(signature, length);
	OK(p11->C_Finalize(NULL));
	free(text);
	return 0;
}
