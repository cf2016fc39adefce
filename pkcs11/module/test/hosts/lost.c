/*
 * The token process is killed (argv[3] "kill") or stopped ("stop") while calls
 * are in flight: each ends with CKR_DEVICE_ERROR within a bound, so does the
 * next one, and a new C_Initialize is taken as the first. With "between" it is
 * killed while no call is, and the next one finds no socket that is free.
 */
#include "host.h"

static CK_SESSION_HANDLE session;
static CK_OBJECT_HANDLE key;

static void *sign_until_lost(void *argument)
{
	CK_SESSION_HANDLE own = *(CK_SESSION_HANDLE *)argument;
	for (;;) {
		CK_RV rv = try_sign(own, key, false);
		if (rv == CKR_DEVICE_ERROR)
			return NULL;
		OK(rv);
	}
}

/* A text without end: the socket is full when nobody reads it. */
static void *stream_until_lost(void *argument)
{
	static CK_BYTE text[1 << 20];
	CK_MECHANISM how = mechanism();
	CK_BYTE signature[1024];
	CK_ULONG length = sizeof signature;
	CK_SESSION_HANDLE own = *(CK_SESSION_HANDLE *)argument;
	CK_RV rv = p11->C_SignInit(own, &how, key);
	while (rv == CKR_OK)
		rv = p11->C_SignUpdate(own, text, sizeof text);
	WANT(rv, CKR_DEVICE_ERROR);
	WANT(p11->C_SignFinal(own, signature, &length), CKR_DEVICE_ERROR);
	return NULL;
}

/* ended reports whether a process has closed its files: whether it is a zombie, or reaped. */
static bool ended(pid_t process)
{
	char path[64], state;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return true;
	bool gone = fscanf(file, "%*d %*s %c", &state) != 1;
	fclose(file);
	return gone || state == 'Z' || state == 'X';
}

/* One operation holds the only socket that there is. */
static void lose_between_calls(void)
{
	CK_MECHANISM how = mechanism();
	CK_SESSION_INFO info;
	OK(p11->C_SignInit(session, &how, key));
	pid_t token = token_process();
	CHECK(token > 0);
	CHECK(kill(token, SIGKILL) == 0);
	while (!ended(token))
		usleep(1000);
	WANT(p11->C_GetSessionInfo(session, &info), CKR_DEVICE_ERROR);
	OK(p11->C_Initialize(NULL));
	sign_once();
	OK(p11->C_Finalize(NULL));
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	CHECK(argc == 4);
	int number = strcmp(argv[3], "stop") == 0 ? SIGSTOP : SIGKILL;
	initialize();
	session = open_session();
	log_in(session);
	key = find_key(session);
	if (strcmp(argv[3], "between") == 0) {
		lose_between_calls();
		return 0;
	}
	pthread_t threads[4];
	CK_SESSION_HANDLE own[4];
	for (int i = 0; i < 4; i++)
		own[i] = open_session();
	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&threads[i], NULL, i == 0 ? stream_until_lost : sign_until_lost, &own[i]) == 0);
	pid_t token = token_process();
	CHECK(token > 0);
	CHECK(kill(token, number) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
	CK_SESSION_INFO info;
	WANT(p11->C_GetSessionInfo(session, &info), CKR_DEVICE_ERROR);
	WANT(p11->C_GetInfo((CK_INFO *)&(char[512]){0}), CKR_DEVICE_ERROR);
	OK(p11->C_Initialize(NULL));
	WANT(p11->C_GetSessionInfo(session, &info), CKR_SESSION_HANDLE_INVALID);
	sign_once();
	if (number == SIGSTOP)
		CHECK(kill(token, SIGCONT) == 0);
	OK(p11->C_Finalize(NULL));
	return 0;
}
