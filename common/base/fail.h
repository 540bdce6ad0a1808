/*
 * Failure without exit. A library function that fails calls fail(), which stores one line of text
 * and an exit status for the thread, and returns -1. Only cmd/ turns that into an exit, with die().
 */
#ifndef DS_FAIL_H
#define DS_FAIL_H

enum {
	FAIL_DATA = 1,          /* wrong bytes in a frame, a model or a text */
	FAIL_USAGE = 2,         /* a wrong command line */
	FAIL_SYSTEM = 3         /* the system or a peer failed; a retry may help */
};

/* Store the message and the status. Always returns -1. If the format ends in ':', " " and
 * strerror(errno) are appended; if errno is 0, the ':' is dropped. */
#define fail(...) (fail_keep(__VA_ARGS__), fail_value())

/* Prefix the stored message with "where: ". Always returns -1.
 *	if (mat_open(...) < 0)
 *		return fail_in("layer %d", layer); */
#define fail_in(...) (fail_prefix(__VA_ARGS__), fail_value())

/* fail() and fail_in() are macros so that the compiler sees the -1. */
static inline int
fail_value(void)
{
	return -1;
}

void fail_keep(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), cold));
void fail_prefix(const char *fmt, ...) __attribute__((format(printf, 1, 2), cold));

const char *fail_text(void);    /* the last message stored on this thread */
int fail_status(void);          /* its status */

/* Print the stored message to standard error as "program: message". A second call prints
 * nothing. */
void fail_print(void);

/* Store a message that was printed before and has been replaced since. fail_print() skips it. */
void fail_restore(int status, const char *message);

/* --- for cmd/ only --- */

extern const char *program;     /* set first in main: "ds-attn" */

/* Print "program: message" to standard error and exit(status). ':' as in fail(). */
_Noreturn void die(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* fail_print(), then exit with the stored status. */
_Noreturn void die_failed(void);

/* Print "program: message" to standard error and return. */
void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
