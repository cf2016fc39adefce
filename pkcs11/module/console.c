/*
 * console.c: the lines that the module prints itself, where nobody else can: the
 * token process or agent is missing, cannot start, or is lost.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "console.h"

/*
 * write_console tries once: a console that nobody reads must not stop the
 * host, and one whose reader is gone must not kill it with SIGPIPE.
 */
static void write_console(const char *line, size_t length)
{
	struct pollfd console = {.fd = STDERR_FILENO, .events = POLLOUT};
	if (poll(&console, 1, 1000) != 1 || (console.revents & (POLLERR | POLLNVAL)) || !(console.revents & POLLOUT))
		return;
	sigset_t pipe_signal, both, before, pending;
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	both = pipe_signal;
	sigaddset(&both, SIGTTOU); /* a background host must not be stopped by our line */
	sigpending(&pending);
	pthread_sigmask(SIG_BLOCK, &both, &before);
	if (write(STDERR_FILENO, line, length) < 0 && errno == EPIPE && !sigismember(&pending, SIGPIPE)) {
		struct timespec at_once = {0, 0};
		while (sigtimedwait(&pipe_signal, NULL, &at_once) < 0 && errno == EINTR)
			;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void complain(const char *format, ...)
{
	char line[PATH_MAX + 256];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(line, sizeof line - 1, format, arguments);
	va_end(arguments);
	if (length < 0)
		return;
	if ((size_t)length > sizeof line - 2)
		length = sizeof line - 2;
	line[length++] = '\n';
	write_console(line, (size_t)length);
}
