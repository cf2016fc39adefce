/*
 * What the module must leave alone in its host: threads, signal handlers and
 * masks, directory, umask, environment, limits, descriptors below 200, errno
 * of a call that worked, and the lines of /proc/self/status that show them.
 */
#include "kernel.h"

#include <sys/resource.h>
#include <sys/stat.h>

extern char **environ;

struct picture {
	char status[2048], directory[4096];
	mode_t mask;
	char **environment;
	unsigned long sum; /* of the environment's text and of all handlers */
	struct rlimit limits[16];
	bool open[200];
};

static void take(struct picture *picture)
{
	static const char *const kept[] = {"Umask", "Tgid", "PPid", "TracerPid", "Uid", "Gid", "Groups", "Threads",
		"SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "Cap", "NoNewPrivs", "Seccomp", "Cpus_allowed", "THP_enabled"};
	memset(picture, 0, sizeof *picture);
	char line[512];
	FILE *status = fopen("/proc/self/status", "r");
	CHECK(status != NULL);
	while (fgets(line, sizeof line, status) != NULL)
		for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
			if (strncmp(line, kept[i], strlen(kept[i])) == 0)
				strncat(picture->status, line, sizeof picture->status - strlen(picture->status) - 1);
	fclose(status);
	CHECK(getcwd(picture->directory, sizeof picture->directory) != NULL);
	picture->mask = umask(0);
	umask(picture->mask);
	picture->environment = environ;
	for (char **entry = environ; *entry != NULL; entry++)
		for (char *c = *entry; *c != '\0'; c++)
			picture->sum = picture->sum * 31 + (unsigned char)*c;
	for (int number = 1; number < 65; number++) {
		struct sigaction action;
		if (sigaction(number, NULL, &action) == 0)
			picture->sum = picture->sum * 31 + (unsigned long)(uintptr_t)action.sa_handler + (unsigned long)action.sa_flags;
	}
	for (int i = 0; i < 16; i++)
		getrlimit(i, &picture->limits[i]);
	for (int fd = 0; fd < 200; fd++)
		picture->open[fd] = fcntl(fd, F_GETFD) >= 0;
}

static struct picture before, after;

/* Settings are those of the start, not of the load. */
static void start_with_other_settings(void)
{
	CHECK(setenv("SIGNPATH_API_TOKEN", "bm9ib2R5", 1) == 0);
	initialize();
	CK_SESSION_HANDLE session = open_session();
	log_in(session);
	CK_ULONG class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, (void *)key_name, strlen(key_name)}};
	CHECK(p11->C_FindObjectsInit(session, template, 2) != CKR_OK);
	OK(p11->C_Finalize(NULL));
	CHECK(setenv("SIGNPATH_API_TOKEN", getenv("RIGHT_TOKEN"), 1) == 0);
}

int main(int argc, char **argv)
{
	sigset_t some;
	sigemptyset(&some);
	sigaddset(&some, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &some, NULL) == 0 && signal(SIGUSR1, SIG_IGN) != SIG_ERR);
	take(&before);
	begin(argc, argv);
	if (getenv("SIGNKIT_AGENT") == NULL)
		start_with_other_settings();
	take(&before);
	for (int i = 0; i < 3; i++) {
		errno = 4711;
		initialize();
		CHECK(errno == 4711);
		sign_once();
		take(&after);
		CHECK(strcmp(before.status, after.status) == 0);
		CHECK(memcmp(&before, &after, sizeof before) == 0);
		OK(p11->C_Finalize(NULL));
		CHECK(sockets() == 0);
	}
	return 0;
}
