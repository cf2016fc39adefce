/*
 * Forks after C_Initialize, by the C library and by a bare system call: the
 * child is not initialized, can start and sign, and leaves its parent alone;
 * so can a grandchild.
 */
#include "host.h"

static void in_child(void)
{
	CK_SESSION_HANDLE session;
	CK_INFO info;
	WANT(p11->C_GetInfo(&info), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session), CKR_CRYPTOKI_NOT_INITIALIZED);
	WANT(p11->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
	OK(p11->C_Initialize(NULL)); /* libp11 passes no arguments here */
	sign_once();
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	initialize();
	CK_SESSION_HANDLE session = open_session();
	log_in(session);
	CK_OBJECT_HANDLE key = find_key(session);
	CK_MECHANISM how = mechanism();
	CK_BYTE signature[1024];
	CK_ULONG length = sizeof signature;
	OK(p11->C_SignInit(session, &how, key));
	OK(p11->C_SignUpdate(session, (CK_BYTE *)"hel", 3));

	for (int bare = 0; bare < 2; bare++) {
		pid_t child = bare ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
		CHECK(child >= 0);
		if (child == 0) {
			in_child();
			pid_t grandchild = fork();
			if (grandchild == 0) {
				in_child();
				_exit(0);
			}
			succeed(grandchild);
			sign_once();
			OK(p11->C_Finalize(NULL));
			_exit(0);
		}
		succeed(child);
	}
	OK(p11->C_SignUpdate(session, (CK_BYTE *)"lo", 2));
	OK(p11->C_SignFinal(session, signature, &length));
	print_signature(signature, length);
	OK(p11->C_Finalize(NULL));
	return 0;
}
