/*
 * Failure without exit: a library function that fails calls fail(), which
 * keeps one line of text and an exit status for the thread, and returns -1.
 * Only cmd/ turns that into an exit, with die().
 */
#ifndef DS_FAIL_H
#define DS_FAIL_H

enum {
	FAIL_DATA = 1,          /* a wrong byte in a frame, a model or a text */
	FAIL_USAGE = 2,         /* a wrong command line */
	FAIL_SYSTEM = 3         /* the system or a peer failed; trying again may help */
};

/* Keep the message and the status; always returns -1.  A format that ends
 * in ':' gets " " and strerror(errno) appended; where errno is 0 the ':' is left out. */
#define fail(...) (fail_keep(__VA_ARGS__), fail_value())

/* Put "where: " in front of the message that is kept; always returns -1.
 *	if (mat_open(...) < 0)
 *		return fail_in("layer %d", layer);
 */
#define fail_in(...) (fail_prefix(__VA_ARGS__), fail_value())

/* What is behind the two, which are macros so that the compiler sees the -1. */
static inline int
fail_value(void)
{
	return -1;
}

void fail_keep(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3), cold));
void fail_prefix(const char *fmt, ...) __attribute__((format(printf, 1, 2), cold));

const char *fail_text(void);    /* the message kept last on this thread */
int fail_status(void);          /* its status */

/* "program: message" on standard error for the message that is kept, once: a second call does nothing. */
void fail_print(void);

/* Keep a message again that has been printed, after others took its place. */
void fail_restore(int status, const char *message);

/* --- for cmd/ only: these end the process --- */

extern const char *program;     /* set first thing in main: "ds-attn" */

/* "program: message" on standard error, then exit(status).  ':' as in fail(). */
_Noreturn void die(int status, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* fail_print(), then exit with its status. */
_Noreturn void die_failed(void);

/* "program: message" on standard error; the program goes on. */
void warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
