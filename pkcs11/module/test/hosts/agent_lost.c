/*
 * The agent ends between two calls (argv[3] "between"), or while one waits for
 * it ("during"), and there is another one later: the test does that when this
 * host says "ready" and "lost", and then answers with a line.
 */
#include "host.h"

static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key;

static void say(const char *word)
{
	char answer[8];
	CHECK(write(STDOUT_FILENO, word, strlen(word)) == (ssize_t)strlen(word));
	CHECK(read(STDIN_FILENO, answer, sizeof answer) > 0);
}

static void *sign_until_lost(void *unused)
{
	WANT(try_sign(session, key, false), CKR_DEVICE_ERROR);
	return unused;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 4);
	bool during = strcmp(argv[3], "during") == 0;
	initialize();
	session = open_session();
	log_in(session);
	key = find_key(session);
	pthread_t thread;
	if (during)
		CHECK(pthread_create(&thread, NULL, sign_until_lost, NULL) == 0);
	say("ready\n");
	if (during)
		CHECK(pthread_join(thread, NULL) == 0);
	CK_SESSION_INFO info;
	WANT(p11->C_GetSessionInfo(session, &info), CKR_DEVICE_ERROR);
	WANT(p11->C_Initialize(NULL), CKR_GENERAL_ERROR); /* nobody is there */
	say("lost\n");
	OK(p11->C_Initialize(NULL));
	WANT(p11->C_GetSessionInfo(session, &info), CKR_SESSION_HANDLE_INVALID);
	sign_once();
	OK(p11->C_Finalize(NULL));
	return 0;
}
