/*
 * A host that measures a module: MODULE PIN KEY [FILE]. KEY is the value of
 * CKA_ID. It prints "NAME NUMBER" lines: microseconds from before dlopen to
 * after C_Initialize and to the first signature, and what was added to the
 * process by then; with FILE, microseconds to read, send and sign it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../../pkcs11/module/cryptoki.h"

#define OK(call) do { CK_RV rv_ = (call); if (rv_ != CKR_OK) { fprintf(stderr, "%s: 0x%lx\n", #call, rv_); exit(1); } } while (0)

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
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

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	long rss = status("VmRSS:"), threads = status("Threads:"), start = now();
	void *library = dlopen(argv[1], RTLD_NOW);
	CK_RV (*get)(CK_FUNCTION_LIST **) = library == NULL ? NULL : (CK_RV (*)(CK_FUNCTION_LIST **))dlsym(library, "C_GetFunctionList");
	if (get == NULL) {
		fprintf(stderr, "%s\n", dlerror());
		return 1;
	}
	CK_FUNCTION_LIST *p11;
	CK_SLOT_ID slots[16];
	CK_ULONG count = 16, class = 3, length = 1024;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE key;
	CK_BYTE signature[1024];
	CK_MECHANISM how = {0x40, NULL, 0};
	OK(get(&p11));
	OK(p11->C_Initialize(NULL));
	printf("initialize %ld\n", now() - start);
	OK(p11->C_GetSlotList(1, slots, &count));
	OK(p11->C_OpenSession(slots[0], 4, NULL, NULL, &session));
	OK(p11->C_Login(session, 1, (CK_BYTE *)argv[2], strlen(argv[2])));
	CK_ATTRIBUTE template[] = {{0, &class, sizeof class}, {0x102, argv[3], strlen(argv[3])}};
	OK(p11->C_FindObjectsInit(session, template, 2));
	OK(p11->C_FindObjects(session, &key, 1, &count));
	OK(p11->C_FindObjectsFinal(session));
	if (count != 1)
		return 1;
	OK(p11->C_SignInit(session, &how, key));
	OK(p11->C_Sign(session, (CK_BYTE *)"hello", 5, signature, &length));
	printf("first %ld\nmemory %ld\nthreads %ld\n", now() - start, status("VmRSS:") - rss, status("Threads:") - threads);
	if (argc > 4) {
		static CK_BYTE piece[8192];
		ssize_t got;
		int file = open(argv[4], O_RDONLY);
		start = now();
		OK(p11->C_SignInit(session, &how, key));
		while ((got = read(file, piece, sizeof piece)) > 0)
			OK(p11->C_SignUpdate(session, piece, (CK_ULONG)got));
		length = sizeof signature;
		OK(p11->C_SignFinal(session, signature, &length));
		printf("stream %ld\n", now() - start);
	}
	OK(p11->C_Finalize(NULL));
	return 0;
}
