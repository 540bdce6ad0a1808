/* TAP: lines of a descriptor, whole, torn, and too long. */
/* check: yes */
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/lines.h"
#include "point.h"

static int fds[2];

static void
put(const char *text)
{
	if (write(fds[1], text, strlen(text)) < 0)
		perror("write");
}

static int
next(struct lines *l, int wait, int what, const char *text)
{
	char *line = NULL;
	size_t n = 0;
	int r = lines_next(l, wait, &line, &n);

	return r == what && (!text || (n == strlen(text) && strcmp(line, text) == 0));
}

static uint32_t
random_number(void)
{
	static uint32_t x = 2463534242;

	x ^= x << 13;
	x ^= x >> 17;
	return x ^= x << 5;
}

/* The next line of `text` as `l` must give it.  */
static int
next_is(struct lines *l, const char *text, size_t n, int wait)
{
	char *line = NULL;
	size_t len = 0;
	int r = lines_next(l, wait, &line, &len);

	if (n > l->max)
		return r == LINES_LONG;
	return r == LINES_LINE && len == n && memcmp(line, text, n) == 0 && line[n] == 0;
}

/* Random bytes in random pieces: the lines are those between the newlines.  */
static int
check_random(void)
{
	struct lines l = {.name = "a pipe", .max = 40};
	size_t n = 30000, at = 0, sent = 0;
	char text[30000];

	for (size_t i = 0; i < n; i++)
		text[i] = random_number() % 30 == 0 ? '\n' : (char)random_number();
	if (pipe(fds) < 0)
		return 0;
	l.fd = fds[0];
	(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (at < n) {
		size_t more = random_number() % 300;
		const char *end;

		more = more < n - sent ? more : n - sent;
		if (more > 0 && write(fds[1], text + sent, more) < 0)
			return 0;
		sent += more;
		if (sent == n)
			close(fds[1]);
		while ((end = memchr(text + at, '\n', sent - at)) || (sent == n && at < n)) {
			size_t len = end ? (size_t)(end - text) - at : n - at;

			if (!next_is(&l, text + at, len, 1))
				return 0;
			at += len + (end != NULL);
		}
		if (!next(&l, sent == n, sent == n ? LINES_END : LINES_WAIT, NULL))
			return 0;
	}
	lines_close(&l);
	return 1;
}

int
main(void)
{
	struct lines l = {.name = "a pipe", .max = 100000}, file;
	char big[70000];
	int random_good = 1;

	if (pipe(fds) < 0)
		return 1;
	l.fd = fds[0];
	(void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
	put("one\n\ntw");
	point(next(&l, 0, LINES_LINE, "one") && next(&l, 0, LINES_LINE, "") &&
	    next(&l, 0, LINES_WAIT, NULL) && l.number == 2, "whole lines, and the start of one");
	put("o\n");
	point(next(&l, 0, LINES_LINE, "two") && l.number == 3, "its rest comes later");
	l.max = 60000;
	memset(big, 'x', sizeof(big));
	for (int i = 0; i < 4; i++)
		if (write(fds[1], big, 16000) < 0 || !next(&l, 0, LINES_WAIT, NULL))
			i = 10;
	put("\nafter\nlast");
	point(next(&l, 0, LINES_LONG, NULL) && strcmp(fail_text(),
	    "longer than 60000 bytes") == 0 &&
	    l.number == 4 && l.b.cap < 200000,
	    "a line that is too long is dropped, and not kept until then");
	point(next(&l, 0, LINES_LINE, "after"), "the next one is read");
	close(fds[1]);
	point(next(&l, 1, LINES_LINE, "last") && next(&l, 1, LINES_END, NULL) &&
	    next(&l, 1, LINES_END, NULL), "the last one needs no newline");
	lines_close(&l);
	point(lines_open(&file, "/nonexistent/x", 10) < 0 && fail_status() == FAIL_DATA,
	    "a file that is missing");
	for (int i = 0; i < 50 && random_good; i++)
		random_good = check_random();
	point(random_good, "random bytes in random pieces");
	printf("1..%d\n", points);
	return failures != 0;
}
