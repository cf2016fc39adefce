/* fork.h: which process this is, and what a fork must not copy. */
#ifndef SIGNKIT_FORK_H
#define SIGNKIT_FORK_H

#include <stdbool.h>

enum process {
	PROCESS_SAME, /* the one that loaded the module, or took its copy over */
	PROCESS_COPY, /* a fork's child: what is here is a copy, and nothing of it may be used */
	PROCESS_LENT, /* a vfork's child: what is here is its parent's */
};

enum process process_now(void);
/* process_is_copy reports whether this is another process than the one whose memory it was: then nothing here may be used. */
bool process_is_copy(void);
/* process_take_over makes a copy usable, in whichever of its threads comes first; false: it is none of ours. */
bool process_take_over(void);

/* fork_load marks this process as the one that loads the module. A copy that is taken over runs `start_afresh` first, alone. */
void fork_load(void (*start_afresh)(void));
/* fork_watch registers the handlers, once; false: there is no memory. */
bool fork_watch(void);
/* fork_unwatch takes the handlers back when the library is unloaded, fork_unload what else does not go with it. */
void fork_unwatch(void);
void fork_unload(void);

/*
 * The gate is closed while the far end of a pair is open here, and while a
 * socket is closed: a child must not get a copy that it does not know of.
 * gate_close gives up at once in a signal handler that interrupted the holder,
 * and else after a while; gate_open takes its result.
 */
bool gate_close(void);
void gate_open(bool closed);

#endif
