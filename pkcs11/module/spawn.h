/* spawn.h: starting the token process. */
#ifndef SIGNKIT_SPAWN_H
#define SIGNKIT_SPAWN_H

#include <stdbool.h>
#include <sys/types.h>

#ifndef SIGNKIT_LIBRARY_DIR
#define SIGNKIT_LIBRARY_DIR "/usr/lib/signkit"
#endif

/*
 * spawn_token_process starts signkit-tokend with `control` as its descriptor 3.
 * It prints the one line that a person needs, and returns false, where that
 * is not possible. The process is no child that the host can wait for, but
 * where orphans become the host's; *child is its number, or 0 if unknown.
 */
bool spawn_token_process(int control, pid_t *child);

/* spawn_explain_limits is for a token process that ended before it greeted, and may have lacked memory. */
void spawn_explain_limits(void);

/*
 * reap_token_process takes its exit status where it has become the host's
 * child after all (the host is PID 1 or a subreaper), so that the host
 * finds no stranger. It waits a moment at most. The process was alive just
 * before: else its number could be another's by now.
 */
void reap_token_process(pid_t child);

#endif
