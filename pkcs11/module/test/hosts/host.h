/*
 * host.h: what the small host programs share. Each loads the module named by
 * its first argument, uses the key named by its second, and exits with 0 only
 * if everything was as it must be. A signature that worked is printed as
 * "signature HEX" over the SHA-256 hash of the word "hello"; the test verifies it.
 */
#ifndef HOST_H
#define HOST_H

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../cryptoki.h"

#define CKM_SHA256_RSA_PKCS 0x40UL
#define CKM_ECDSA_SHA256 0x1044UL
#define CKA_CLASS 0UL
#define CKA_ID 0x102UL
#define CKO_PRIVATE_KEY 3UL
#define CKU_USER 1UL
#define CKF_SERIAL_SESSION 4UL
#define CKF_OS_LOCKING_OK 2UL
#define CKR_USER_ALREADY_LOGGED_IN 0x100UL
#define SLOT 1UL

static CK_FUNCTION_LIST *p11;
static const char *key_name;

#define FAIL(...) (fprintf(stderr, "%s:%d: ", __FILE__, __LINE__), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), fflush(NULL), _exit(1))
#define CHECK(condition) do { if (!(condition)) FAIL("%s (errno %s)", #condition, strerror(errno)); } while (0)
#define WANT(call, want) do { CK_RV rv_ = (call); if (rv_ != (want)) FAIL("%s is 0x%lx, not 0x%lx", #call, rv_, (CK_RV)(want)); } while (0)
#define OK(call) WANT(call, CKR_OK)

/* Less than any wait of the module for what does not come, and far more than a call takes on a machine with much to do. */
#define CALL_LIMIT 15.0 /* seconds */

__attribute__((unused)) static double seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#define PROMPTLY(call) do { double began_ = seconds(); call; if (seconds() - began_ > CALL_LIMIT) FAIL("%s took %.1f s", #call, seconds() - began_); } while (0)

static void *load_module(const char *path)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		FAIL("dlopen: %s", dlerror());
	CK_RV (*get)(CK_FUNCTION_LIST **) = (CK_RV (*)(CK_FUNCTION_LIST **))dlsym(library, "C_GetFunctionList");
	CHECK(get != NULL);
	OK(get(&p11));
	return library;
}

__attribute__((unused)) static void begin(int argc, char **argv)
{
	if (argc < 3)
		FAIL("usage: %s MODULE KEY", argv[0]);
	key_name = argv[2];
	load_module(argv[1]);
}

__attribute__((unused)) static void initialize(void)
{
	CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
	OK(p11->C_Initialize(&args));
}

__attribute__((unused)) static CK_SESSION_HANDLE open_session(void)
{
	CK_SESSION_HANDLE session;
	OK(p11->C_OpenSession(SLOT, CKF_SERIAL_SESSION, NULL, NULL, &session));
	return session;
}

__attribute__((unused)) static void log_in(CK_SESSION_HANDLE session)
{
	char pin[] = "CONFIG";
	CK_RV rv = p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin));
	if (rv != CKR_USER_ALREADY_LOGGED_IN)
		OK(rv);
}

__attribute__((unused)) static CK_OBJECT_HANDLE find_key(CK_SESSION_HANDLE session)
{
	CK_ULONG class = CKO_PRIVATE_KEY, count = 0;
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, (void *)key_name, strlen(key_name)}};
	CK_OBJECT_HANDLE key = 0;
	OK(p11->C_FindObjectsInit(session, template, 2));
	OK(p11->C_FindObjects(session, &key, 1, &count));
	CHECK(count == 1);
	OK(p11->C_FindObjectsFinal(session));
	return key;
}

__attribute__((unused)) static void print_signature(const CK_BYTE *signature, CK_ULONG length)
{
	char line[2 * 1024 + 16];
	int at = snprintf(line, sizeof line, "signature ");
	for (CK_ULONG i = 0; i < length && i < 1024; i++)
		at += snprintf(line + at, sizeof line - (size_t)at, "%02x", signature[i]);
	line[at++] = '\n';
	CHECK(write(STDOUT_FILENO, line, (size_t)at) == at);
}

__attribute__((unused)) static CK_MECHANISM mechanism(void)
{
	return (CK_MECHANISM){.mechanism = strstr(key_name, "rsa") != NULL ? CKM_SHA256_RSA_PKCS : CKM_ECDSA_SHA256};
}

__attribute__((unused)) static CK_RV try_sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, bool print)
{
	CK_MECHANISM how = mechanism();
	CK_BYTE data[] = "hello", signature[1024];
	CK_ULONG length = sizeof signature;
	CK_RV rv = p11->C_SignInit(session, &how, key);
	if (rv != CKR_OK)
		return rv;
	rv = p11->C_Sign(session, data, 5, signature, &length);
	if (rv == CKR_OK && print)
		print_signature(signature, length);
	return rv;
}

/* sign_once goes the whole way from C_OpenSession to a signature. */
__attribute__((unused)) static void sign_once(void)
{
	CK_SESSION_HANDLE session = open_session();
	log_in(session);
	OK(try_sign(session, find_key(session), true));
}

/* succeed waits for a child and takes over its failure. */
__attribute__((unused)) static void succeed(pid_t child)
{
	int status;
	CHECK(waitpid(child, &status, 0) == child);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		FAIL("child ended with status 0x%x", status);
}

/* is_ours reports whether a process has this host's SIGNKIT_TEST_ID in its environment. */
static bool is_ours(const char *process)
{
	static char text[65536];
	char path[300], wanted[256];
	snprintf(path, sizeof path, "/proc/%s/environ", process);
	snprintf(wanted, sizeof wanted, "SIGNKIT_TEST_ID=%s", getenv("SIGNKIT_TEST_ID"));
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	if (length < 0)
		return false;
	text[length] = '\0';
	for (char *entry = text; entry < text + length; entry += strlen(entry) + 1)
		if (strcmp(entry, wanted) == 0)
			return true;
	return false;
}

/* token_process finds the token process of this host: it holds no file but the program's own. 0 if there is none. */
__attribute__((unused)) static pid_t token_process(void)
{
	pid_t found = 0;
	DIR *list = opendir("/proc");
	CHECK(list != NULL);
	for (struct dirent *entry; found == 0 && (entry = readdir(list)) != NULL;) {
		char link[300], target[512] = "";
		snprintf(link, sizeof link, "/proc/%s/exe", entry->d_name);
		if (atoi(entry->d_name) <= 0 || readlink(link, target, sizeof target - 1) < 0)
			continue;
		const char *name = strrchr(target, '/');
		if (name != NULL && strcmp(name, "/signkit-tokend") == 0 && is_ours(entry->d_name))
			found = (pid_t)atoi(entry->d_name);
	}
	closedir(list);
	return found;
}

#endif
