/* console.h: one line for a person, from a library that owns no console. */
#ifndef SIGNKIT_CONSOLE_H
#define SIGNKIT_CONSOLE_H

/* complain writes one line to descriptor 2 (printf format, no line end). It waits a second for the reader at most: hold no lock. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
