/* connect.h: who is at the other end: greetings, and the agent that may take the token process's place. */
#ifndef SIGNKIT_CONNECT_H
#define SIGNKIT_CONNECT_H

#include <stdbool.h>
#include <sys/un.h>

#include "socket.h"
#include "wire.h"

#ifndef SIGNKIT_VERSION
#define SIGNKIT_VERSION "dev"
#endif

/* agent_named is what SIGNKIT_AGENT says; NULL: nothing. */
const char *agent_named(void);
/* agent_address and agent_connect print the one line that a person needs where they return false. */
bool agent_address(const char *path, struct sockaddr_un *address);
/* agent_connect connects a socket, checks who is at its other end, and exchanges greetings. */
bool agent_connect(const struct descriptor *control, const struct sockaddr_un *address);

/* greet_token_process announces us; errno tells why not. */
bool greet_token_process(const struct descriptor *control);
/* greeting_fits compares the other side's greeting with ours, and says what to do where they differ. */
bool greeting_fits(struct wire_hello *theirs, bool agent);

#endif
