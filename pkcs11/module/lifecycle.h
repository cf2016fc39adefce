/* lifecycle.h: start, stop, and every thread's stay in between. */
#ifndef SIGNKIT_LIFECYCLE_H
#define SIGNKIT_LIFECYCLE_H

#include "cryptoki.h"
#include "pool.h"

CK_RV lifecycle_start(void);
CK_RV lifecycle_stop(void);

/* visit_begin begins every entry point: CKR_OK, or what to return. After CKR_OK, visit_end must follow. */
CK_RV visit_begin(struct visit *visit);
void visit_end(const struct visit *visit);

/*
 * ENTRY is the body of an entry point that answers with `expression`, a CK_RV,
 * during a visit of the given name.
 */
#define ENTRY(visit, expression) \
	do { \
		struct visit visit; \
		CK_RV entry_rv = visit_begin(&visit); \
		if (entry_rv == CKR_OK) { \
			entry_rv = (expression); \
			visit_end(&visit); \
		} \
		return entry_rv; \
	} while (0)

#endif
