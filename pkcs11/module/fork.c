/*
 * fork.c: whether this is the process that loaded the module, or a copy that
 * was made to start afresh. A fork that runs no handler (a bare clone, _Fork)
 * copies the client's memory, with whatever lock another thread held, a vfork
 * lends it, and in a namespace of its own a copy can have its parent's number.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "fork.h"
#include "socket.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* linux/futex.h, which a compiler for musl need not have. */
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define FUTEX_CMP_REQUEUE 4
#define FUTEX_PRIVATE 128

#define LARGEST_PAGE 65536
#define HOLE_TEXT 0x656c6f68u
#define CLAIM_LIMIT 5000 /* milliseconds that a thread waits for the one that starts a copy afresh */

#define GATE_LIMIT 20000  /* milliseconds that a fork waits for the gate: a start takes long on a machine with much to do */

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

enum process process_now(void)
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

static void mark_make(void)
{
	make_page();
	if (mark == NULL)
		make_hole();
	__atomic_store_n(&owner, process_id(), __ATOMIC_RELEASE);
}

void fork_unload(void)
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

static bool mark_claim(void)
{
	if (claim_first())
		return true;
	struct timespec moment = {.tv_nsec = 1000000};
	for (int waited = 0; waited < CLAIM_LIMIT && process_now() != PROCESS_SAME; waited++)
		nanosleep(&moment, NULL);
	return false;
}

static void mark_claimed(void)
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

/* The gate. */

/* A lock of our own, because a mutex knows no limit on a clock that nobody sets. */
static uint32_t gate; /* 0 open, 1 closed, 2 closed and somebody waits */
static uintptr_t gate_holder;

/* Exchanges and not loads and stores, which helgrind takes for races. */
static void gate_hold(uintptr_t holder)
{
	__atomic_exchange_n(&gate_holder, holder, __ATOMIC_RELAXED);
}

static bool gate_held_here(void)
{
	uintptr_t self = (uintptr_t)pthread_self();
	return __atomic_compare_exchange_n(&gate_holder, &self, self, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static bool gate_closed(void)
{
	gate_hold((uintptr_t)pthread_self());
	return true;
}

bool gate_close(void)
{
	uint32_t open = 0;
	if (__atomic_compare_exchange_n(&gate, &open, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return gate_closed();
	if (gate_held_here())
		return false;
	int64_t limit = now_ms() + GATE_LIMIT;
	while (__atomic_exchange_n(&gate, 2, __ATOMIC_ACQUIRE) != 0) {
		int64_t left = limit - now_ms();
		if (left <= 0)
			return false;
		struct timespec wait = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
		syscall(SYS_futex, &gate, FUTEX_WAIT | FUTEX_PRIVATE, 2, &wait, NULL, 0);
	}
	return gate_closed();
}

void gate_open(bool closed)
{
	if (!closed)
		return;
	gate_hold(0);
	if (__atomic_exchange_n(&gate, 0, __ATOMIC_RELEASE) == 2)
		syscall(SYS_futex, &gate, FUTEX_WAKE | FUTEX_PRIVATE, 1, NULL, NULL, 0);
}

static bool handlers_registered;
static pthread_t fork_holder;
static bool fork_holds;

/* Copies. */

/* What makes a copy start afresh: its callers know what there is to forget. */
static void (*start_afresh)(void);

bool process_is_copy(void)
{
	return process_now() != PROCESS_SAME;
}

bool process_take_over(void)
{
	if (mark_claim()) {
		gate = 0;
		gate_holder = 0;
		fork_holds = false;
		start_afresh();
		mark_claimed();
	}
	return !process_is_copy();
}

/* The handlers. */

/*
 * fork takes the gate and not the lock of the state: a host's own handlers,
 * which run after this one, may wait for a thread that is in a call here.
 */
static void before_fork(void)
{
	if (process_is_copy())
		return;
	if (!gate_close())
		return; /* go on without it */
	fork_holder = pthread_self();
	fork_holds = true;
}

static void after_fork_in_parent(void)
{
	if (!fork_holds || !pthread_equal(fork_holder, pthread_self()))
		return;
	fork_holds = false;
	gate_open(true);
}

static void after_fork_in_child(void)
{
	if (process_is_copy())
		process_take_over();
}

/*
 * pthread_atfork is linked statically by glibc and exists in musl only, its
 * inner function exists in glibc only. Weak, so that one file loads in both.
 */
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *) __attribute__((weak));
extern int pthread_atfork(void (*)(void), void (*)(void), void (*)(void)) __attribute__((weak));
extern void *__dso_handle __attribute__((visibility("hidden")));

bool fork_watch(void)
{
	if (handlers_registered)
		return true;
	int failed = -1;
	if (__register_atfork != NULL)
		failed = __register_atfork(before_fork, after_fork_in_parent, after_fork_in_child, &__dso_handle);
	else if (pthread_atfork != NULL)
		failed = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
	handlers_registered = failed == 0;
	return handlers_registered;
}

/*
 * The mark is made here, so that every child knows that it is one, whatever
 * its parent's other threads were doing: also in their first C_Initialize.
 *
 * musl lets a fork pass that began before the first handler was registered,
 * and its child then has sockets that nobody there knows of. glibc makes the
 * registration wait for that fork.
 */
void fork_load(void (*afresh)(void))
{
	start_afresh = afresh;
	mark_make();
	if (__register_atfork == NULL)
		fork_watch();
}

extern void __cxa_finalize(void *) __attribute__((weak));

/* Handlers go with __cxa_finalize, which not every compiler's start files call. */
void fork_unwatch(void)
{
	if (__cxa_finalize != NULL)
		__cxa_finalize(&__dso_handle);
}
