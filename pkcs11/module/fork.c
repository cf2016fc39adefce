/*
 * fork.c: whether this is the process that loaded the module, or a copy that
 * was made to start afresh. A fork that runs no handler (a bare clone, _Fork)
 * copies the client's memory, with whatever lock another thread held, a vfork
 * lends it, and in a namespace of its own a copy can have its parent's number.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "module.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* linux/futex.h, which a compiler for musl need not have. */
#define FUTEX_CMP_REQUEUE 4
#define FUTEX_PRIVATE 128

#define LARGEST_PAGE 65536
#define HOLE_TEXT 0x656c6f68u
#define CLAIM_LIMIT 5000 /* milliseconds that a thread waits for the one that starts a copy afresh */

enum mark { WIPED, MADE, CLAIMED };

static pid_t owner; /* 0: still being loaded; negative: a thread of that process is taking a copy over */

/*
 * A page that reads as zeros in a copy (Linux 4.14). It is a part of the
 * library's own memory, so that it goes with the library when that is unloaded
 * and not before: threads may look at it until the process has ended.
 */
static unsigned char room[2 * LARGEST_PAGE];
static uint32_t *mark;

/* Before Linux 4.14: a page that is missing in a copy. */
static uint32_t *hole;

static pid_t process_id(void)
{
	return (pid_t)syscall(SYS_getpid); /* no C library's memory of it */
}

/*
 * Something else may be mapped there by now, and even be unreadable. So the
 * kernel compares: FUTEX_CMP_REQUEUE that wakes and moves nobody.
 */
static bool hole_missing(void)
{
	uint32_t *page = __atomic_load_n(&hole, __ATOMIC_ACQUIRE);
	if (page == NULL || syscall(SYS_futex, page, FUTEX_CMP_REQUEUE | FUTEX_PRIVATE, 0, 0UL, page, HOLE_TEXT) >= 0)
		return false;
	return errno == EAGAIN || errno == EFAULT;
}

static uint32_t mark_value(void)
{
	uint32_t *at = __atomic_load_n(&mark, __ATOMIC_ACQUIRE);
	return at != NULL ? __atomic_load_n(at, __ATOMIC_ACQUIRE) : (uint32_t)MADE;
}

static enum process process_of(pid_t started)
{
	pid_t self = process_id();
	if (started == 0) /* the constructor of another library calls before ours has run */
		return PROCESS_SAME;
	if (mark_value() != MADE || started == -self || hole_missing())
		return PROCESS_COPY;
	return started == self ? PROCESS_SAME : PROCESS_LENT;
}

enum process mark_process(void)
{
	for (;;) { /* until no other thread took the copy over between two looks */
		pid_t started = __atomic_load_n(&owner, __ATOMIC_ACQUIRE);
		enum process process = process_of(started);
		if (started == __atomic_load_n(&owner, __ATOMIC_ACQUIRE))
			return process;
	}
}

static void make_page(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	uintptr_t aligned = ((uintptr_t)room + size - 1) & ~(uintptr_t)(size - 1);
	void *page = (void *)aligned;
	if (size <= LARGEST_PAGE && madvise(page, size, MADV_WIPEONFORK) == 0) {
		__atomic_store_n((uint32_t *)page, MADE, __ATOMIC_RELEASE);
		__atomic_store_n(&mark, page, __ATOMIC_RELEASE);
	}
}

static void make_hole(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	uint32_t *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return;
	*page = HOLE_TEXT;
	if (madvise(page, size, MADV_DONTFORK) == 0)
		__atomic_store_n(&hole, page, __ATOMIC_RELEASE);
	else
		munmap(page, size);
}

void mark_make(void)
{
	make_page();
	if (mark == NULL)
		make_hole();
	__atomic_store_n(&owner, process_id(), __ATOMIC_RELEASE);
}

void mark_unmap(void)
{
	if (hole != NULL)
		munmap(__atomic_exchange_n(&hole, NULL, __ATOMIC_ACQ_REL), (size_t)sysconf(_SC_PAGESIZE));
}

/* claim_first is true in one thread of a copy; by the wiped page where there is one, else by the number of the process. */
static bool claim_first(void)
{
	uint32_t wiped = WIPED;
	if (mark_value() != MADE)
		return __atomic_compare_exchange_n(mark, &wiped, CLAIMED, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	pid_t started = __atomic_load_n(&owner, __ATOMIC_ACQUIRE), self = process_id();
	if (started == -self || (started == self && !hole_missing()))
		return false;
	return __atomic_compare_exchange_n(&owner, &started, -self, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

bool mark_claim(void)
{
	if (claim_first())
		return true;
	struct timespec moment = {.tv_nsec = 1000000};
	for (int waited = 0; waited < CLAIM_LIMIT && mark_process() != PROCESS_SAME; waited++)
		nanosleep(&moment, NULL);
	return false;
}

void mark_claimed(void)
{
	if (mark != NULL) {
		__atomic_store_n(&owner, process_id(), __ATOMIC_RELEASE);
		__atomic_store_n(mark, MADE, __ATOMIC_RELEASE);
		return;
	}
	if (hole_missing()) {
		__atomic_store_n(&hole, NULL, __ATOMIC_RELEASE); /* whatever is mapped there by now is not ours */
		make_hole();
	}
	__atomic_store_n(&owner, process_id(), __ATOMIC_RELEASE);
}
