#include "base/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *program = "dspipe";

static _Thread_local char text[1024];
static _Thread_local int kept = FAIL_SYSTEM;
static _Thread_local int printed;       /* the message has been printed */

/* One message is one line, whatever bytes a file or a peer put into it. */
static void
one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

static void
format(char *to, size_t size, const char *fmt, va_list ap)
{
	int e = errno;
	size_t n = strlen(fmt), used;

	vsnprintf(to, size, fmt, ap);
	used = strlen(to);
	if (n > 0 && fmt[n - 1] == ':' && e != 0)
		snprintf(to + used, size - used, " %s", strerror(e));
	else if (n > 0 && fmt[n - 1] == ':' && used > 0 && to[used - 1] == ':')
		to[used - 1] = '\0';    /* no reason is known, and "Success" would be wrong */
	one_line(to);
}

void
fail_keep(int status, const char *fmt, ...)
{
	char now[sizeof(text)];         /* arguments may point into text */
	va_list ap;

	va_start(ap, fmt);
	format(now, sizeof(now), fmt, ap);
	va_end(ap);
	memcpy(text, now, sizeof(text));
	kept = status;
	printed = 0;
}

void
fail_prefix(const char *fmt, ...)
{
	char where[256], now[sizeof(text) + 260];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(where, sizeof(where), fmt, ap);
	va_end(ap);
	one_line(where);
	snprintf(now, sizeof(now), "%s: %s", where, text);
	snprintf(text, sizeof(text), "%.*s", (int)sizeof(text) - 1, now);
}

const char *
fail_text(void)
{
	return text;
}

int
fail_status(void)
{
	return kept;
}

static void
report(const char *fmt, va_list ap)
{
	char now[sizeof(text)];

	format(now, sizeof(now), fmt, ap);
	fprintf(stderr, "%s: %s\n", program, now);
}

void
die(int status, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(fmt, ap);
	va_end(ap);
	exit(status);
}

void
fail_print(void)
{
	if (!printed)
		fprintf(stderr, "%s: %s\n", program, text);
	printed = 1;
}

void
fail_restore(int status, const char *message)
{
	fail_keep(status, "%s", message);
	printed = 1;
}

void
die_failed(void)
{
	fail_print();
	exit(kept);
}

void
warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report(fmt, ap);
	va_end(ap);
}
