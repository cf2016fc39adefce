/*
 * A host that measures a module: MODULE PIN KEY [WORK …]. KEY is the value of
 * CKA_ID; its name tells whether it is an RSA key. It prints "NAME NUMBER"
 * lines. Always: milliseconds from before dlopen to after C_Initialize
 * ("initialize") and to the first signature ("first"), and what was added to the
 * process by then in MiB and threads. WORK is one of
 *   again                 milliseconds of one more signature
 *   stream FILE           milliseconds to read, send and sign FILE
 *   threads COUNT EACH    signatures per second of COUNT threads that make EACH
 *   hosts COUNT           COUNT children that sign once and stay until standard input ends
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../../pkcs11/module/cryptoki.h"

#define OK(call) do { CK_RV rv_ = (call); if (rv_ != CKR_OK) { fprintf(stderr, "%s: 0x%lx\n", #call, rv_); exit(1); } } while (0)

/* Of the standard's constants those that are used here. */
#define CKF_OS_LOCKING_OK 2
#define CKF_SERIAL_SESSION 4
#define CKU_USER 1
#define CKO_PRIVATE_KEY 3
#define CKA_CLASS 0
#define CKA_ID 0x102
#define CKM_SHA256_RSA_PKCS 0x40
#define CKM_ECDSA 0x1041

static CK_FUNCTION_LIST *p11;
static CK_SLOT_ID slots[16];
static CK_OBJECT_HANDLE key;
static CK_MECHANISM how;
static int signed_so_far;

static double now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static long status(const char *name)
{
	char line[256];
	long value = 0;
	FILE *file = fopen("/proc/self/status", "r");
	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			value = atol(line + strlen(name));
	if (file != NULL)
		fclose(file);
	return value;
}

static void initialize(void)
{
	CK_C_INITIALIZE_ARGS arguments = {.flags = CKF_OS_LOCKING_OK};
	OK(p11->C_Initialize(&arguments));
}

static void load(const char *module)
{
	void *library = dlopen(module, RTLD_NOW);
	CK_RV (*get)(CK_FUNCTION_LIST **) =
		library == NULL ? NULL : (CK_RV (*)(CK_FUNCTION_LIST **))dlsym(library, "C_GetFunctionList");
	if (get == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		exit(1);
	}
	OK(get(&p11));
	initialize();
}

static CK_SESSION_HANDLE open_session(void)
{
	CK_SESSION_HANDLE session;
	OK(p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION, NULL, NULL, &session));
	return session;
}

static CK_SESSION_HANDLE log_in(const char *pin, char *name)
{
	CK_ULONG count = 16, class = CKO_PRIVATE_KEY;
	OK(p11->C_GetSlotList(1, slots, &count));
	CK_SESSION_HANDLE session = open_session();
	OK(p11->C_Login(session, CKU_USER, (CK_BYTE *)pin, strlen(pin)));
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, name, strlen(name)}};
	OK(p11->C_FindObjectsInit(session, template, 2));
	OK(p11->C_FindObjects(session, &key, 1, &count));
	OK(p11->C_FindObjectsFinal(session));
	if (count != 1) {
		fprintf(stderr, "no key %s\n", name);
		exit(1);
	}
	how.mechanism = strstr(name, "rsa") != NULL ? CKM_SHA256_RSA_PKCS : CKM_ECDSA;
	return session;
}

/* Never the same data twice: the token process would not ask again. */
static void sign(CK_SESSION_HANDLE session)
{
	CK_BYTE data[32] = {0};
	int number = __atomic_add_fetch(&signed_so_far, 1, __ATOMIC_RELAXED);
	memcpy(data, &number, sizeof number);
	CK_BYTE signature[1024];
	CK_ULONG length = sizeof signature;
	OK(p11->C_SignInit(session, &how, key));
	OK(p11->C_Sign(session, data, sizeof data, signature, &length));
}

static void stream(CK_SESSION_HANDLE session, const char *name)
{
	static CK_BYTE piece[8192];
	CK_BYTE signature[1024];
	CK_ULONG length = sizeof signature;
	ssize_t got;
	int file = open(name, O_RDONLY);
	double begin = now();
	OK(p11->C_SignInit(session, &how, key));
	while ((got = read(file, piece, sizeof piece)) > 0)
		OK(p11->C_SignUpdate(session, piece, (CK_ULONG)got));
	OK(p11->C_SignFinal(session, signature, &length));
	printf("stream %.4f\n", now() - begin);
	close(file);
}

static pthread_barrier_t barrier;

static void *sign_many(void *each)
{
	CK_SESSION_HANDLE session = open_session();
	sign(session); /* opens what the thread needs */
	pthread_barrier_wait(&barrier);
	for (long i = *(long *)each; i > 0; i--)
		sign(session);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void threads(int count, long each)
{
	pthread_t *list = calloc((size_t)count, sizeof *list);
	pthread_barrier_init(&barrier, NULL, (unsigned)count + 1);
	for (int i = 0; i < count; i++)
		if (pthread_create(&list[i], NULL, sign_many, &each) != 0)
			exit(1);
	pthread_barrier_wait(&barrier);
	double begin = now();
	pthread_barrier_wait(&barrier);
	printf("rate %.4f\n", 1e3 * (double)count * (double)each / (now() - begin));
	for (int i = 0; i < count; i++)
		pthread_join(list[i], NULL);
	free(list);
}

/* until_end returns when nobody can write to a pipe any more. */
static void until_end(int pipe)
{
	char byte;
	while (read(pipe, &byte, 1) > 0)
		;
}

static void hosts(int count, const char *pin, char *name)
{
	int ready[2];
	char byte = 0;
	if (pipe(ready) != 0)
		exit(1);
	fflush(stdout);
	for (int i = 0; i < count; i++) {
		pid_t child = fork();
		if (child < 0)
			exit(1);
		if (child > 0)
			continue;
		initialize();
		sign(log_in(pin, name));
		if (write(ready[1], &byte, 1) != 1)
			_exit(1);
		close(ready[0]);
		close(ready[1]);
		until_end(STDIN_FILENO);
		OK(p11->C_Finalize(NULL));
		_exit(0);
	}
	close(ready[1]);
	int have = 0;
	while (have < count && read(ready[0], &byte, 1) == 1)
		have++;
	if (have == count)
		printf("hosts %d\n", have);
	fflush(stdout);
	until_end(STDIN_FILENO);
	while (wait(NULL) > 0)
		;
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	long memory = status("VmRSS:"), count = status("Threads:");
	double begin = now();
	load(argv[1]);
	double initialized = now();
	CK_SESSION_HANDLE session = log_in(argv[2], argv[3]);
	sign(session);
	double first = now();
	memory = status("VmRSS:") - memory;
	count = status("Threads:") - count;
	printf("initialize %.4f\nfirst %.4f\nmemory %.4f\nthreads %ld\n",
	       initialized - begin, first - begin, (double)memory / 1024, count);
	if (argc == 5 && strcmp(argv[4], "again") == 0) {
		begin = now();
		sign(session);
		printf("again %.4f\n", now() - begin);
	}
	if (argc == 6 && strcmp(argv[4], "hosts") == 0)
		hosts(atoi(argv[5]), argv[2], argv[3]);
	if (argc == 6 && strcmp(argv[4], "stream") == 0)
		stream(session, argv[5]);
	if (argc == 7 && strcmp(argv[4], "threads") == 0)
		threads(atoi(argv[5]), atol(argv[6]));
	OK(p11->C_Finalize(NULL));
	return 0;
}
