/* sign.h: what else ends sign operations. */
#ifndef SIGNKIT_SIGN_H
#define SIGNKIT_SIGN_H

#include "cryptoki.h"
#include "pool.h"

/* operations_forget drops what C_CloseSession or C_CloseAllSessions ended; session 0 means all. */
void operations_forget(const struct visit *visit, CK_SESSION_HANDLE session);
/* operations_free empties the table; an operation that a thread is still in ends when that returns. The lock is held. */
void operations_free(void);
/* operations_abandon forgets the table after a fork, when the heap may be in any state. */
void operations_abandon(void);

#endif
