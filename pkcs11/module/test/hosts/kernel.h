/* kernel.h: what hosts ask of the kernel: to see their own descriptors and threads, and to be refused a system call. */
#ifndef KERNEL_H
#define KERNEL_H

#include "host.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>

/* skip ends the host with a reason that the test prints. */
#define SKIP(...) (fprintf(stderr, "skip: " __VA_ARGS__), fprintf(stderr, ": %s\n", strerror(errno)), _exit(77))

/* sockets counts the sockets above 2: none is left when nothing of the module's is open. */
__attribute__((unused)) static int sockets(void)
{
	int found = 0;
	DIR *directory = opendir("/proc/self/fd");
	CHECK(directory != NULL);
	for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
		char target[64] = "";
		ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
		if (length > 0 && strncmp(target, "socket:", 7) == 0 && atoi(entry->d_name) > 2)
			found++;
	}
	closedir(directory);
	return found;
}

/* in_call waits until a thread is in a system call; the module waits for its answers in recvmsg. */
__attribute__((unused)) static void in_call(pid_t thread, long number)
{
	char path[64], line[256] = "";
	snprintf(path, sizeof path, "/proc/self/task/%d/syscall", (int)thread);
	for (int tries = 0; tries < 60000; tries++) {
		int fd = open(path, O_RDONLY);
		if (fd < 0)
			SKIP("%s", path);
		ssize_t length = read(fd, line, sizeof line - 1);
		close(fd);
		if (length > 0 && line[0] != 'r' && atol(line) == number)
			return;
		usleep(1000);
	}
	FAIL("thread %d is not in system call %ld: %s", (int)thread, number, line);
}

/* stop stops a process, and returns when all its threads have stopped: kill returns before that. */
__attribute__((unused)) static void stop_process(pid_t process)
{
	CHECK(kill(process, SIGSTOP) == 0);
	char path[320], text[512];
	snprintf(path, sizeof path, "/proc/%d/task", (int)process);
	for (int tries = 0, running = 1; running > 0; tries++) {
		CHECK(tries < 60000);
		usleep(1000);
		running = 0;
		DIR *directory = opendir(path);
		CHECK(directory != NULL);
		for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
			char file[600];
			snprintf(file, sizeof file, "%s/%s/stat", path, entry->d_name);
			int fd = entry->d_name[0] == '.' ? -1 : open(file, O_RDONLY);
			if (fd < 0)
				continue;
			ssize_t length = read(fd, text, sizeof text - 1);
			close(fd);
			text[length > 0 ? length : 0] = '\0';
			const char *state = strrchr(text, ')');
			running += state == NULL || state[2] != 'T';
		}
		closedir(directory);
	}
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)(value), yes, no)
#define ANSWER(code) BPF_STMT(BPF_RET | BPF_K, code)
#define ERROR(reason) ANSWER(SECCOMP_RET_ERRNO | (reason))

__attribute__((unused)) static void filter(struct sock_filter *code, size_t length)
{
	struct sock_fprog program = {(unsigned short)length, code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		SKIP("no system call filter");
}

/* deny_wipe makes this kernel as old as one without MADV_WIPEONFORK (18). */
__attribute__((unused)) static void deny_wipe(void)
{
	struct sock_filter code[] = {
		LOAD(nr), IS(SYS_madvise, 0, 3), LOAD(args[2]), IS(18, 0, 1), ERROR(EINVAL), ANSWER(SECCOMP_RET_ALLOW),
	};
	filter(code, sizeof code / sizeof *code);
	CHECK(madvise(NULL, 0, 18) != 0 && errno == EINVAL);
}

/* deny_threads refuses clone with CLONE_THREAD: processes can be started, threads cannot. */
__attribute__((unused)) static void deny_threads(void)
{
	struct sock_filter code[] = {
		LOAD(nr), IS(SYS_clone3, 0, 1), ERROR(ENOSYS), IS(SYS_clone, 0, 3), LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1), ERROR(EAGAIN), ANSWER(SECCOMP_RET_ALLOW),
	};
	filter(code, sizeof code / sizeof *code);
}

/* deny_processes refuses every new process and thread. */
__attribute__((unused)) static void deny_processes(void)
{
	struct sock_filter code[] = {
		LOAD(nr),
#ifdef SYS_fork
		IS(SYS_fork, 0, 1), ERROR(EPERM), IS(SYS_vfork, 0, 1), ERROR(EPERM),
#endif
		IS(SYS_clone3, 0, 1), ERROR(EPERM), IS(SYS_clone, 0, 1), ERROR(EPERM), ANSWER(SECCOMP_RET_ALLOW),
	};
	filter(code, sizeof code / sizeof *code);
}

#endif
