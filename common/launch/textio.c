#include "launch/textio.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "launch/streams.h"

/* Print to the terminal, never to a file; standard output was written before. */
static void
print_tty(const char *s)
{
	if (isatty(2))
		(void)io_write(2, s, strlen(s));
}

/* Send the first n typed bytes as the next turn of the dialog, or start a new dialog. */
static int
send_turn(struct textio *t, size_t n)
{
	const char *typed = (const char *)t->typed.p;

	t->state = TEXTIO_PROMPT;
	if (n == 4 && memcmp(typed, "/new", 4) == 0)
		dialog_reset(t->dialog);
	else if (n > 0) {
		t->state = TEXTIO_ANSWER;
		t->asked = 1;
		return dialog_add_question(t->dialog, &t->feed, typed, n);
	}
	return 0;
}

/* Send the first n typed bytes as a question, unless it is empty. NULs are dropped, because they
 * separate questions. */
static int
send_question(struct textio *t, size_t n)
{
	size_t before = t->feed.n;

	if (t->dialog)
		return send_turn(t, n);
	for (size_t i = 0; i < n; i++)
		if (t->typed.p[i] && buf_addc(&t->feed, t->typed.p[i]) < 0)
			return -1;
	if (t->feed.n == before) {
		t->state = TEXTIO_PROMPT;
		return 0;
	}
	t->state = TEXTIO_ANSWER;
	t->asked = 1;
	return buf_addc(&t->feed, 0);
}

/* Send the next line, if it is complete. */
static int
next_line(struct textio *t)
{
	unsigned char *end = t->typed.n > 0 ? memchr(t->typed.p, '\n', t->typed.n) : NULL;
	size_t n = end ? (size_t)(end - t->typed.p) : 0;

	if (!end)
		return 0;
	if (send_question(t, n) < 0)
		return -1;
	buf_drop(&t->typed, n + 1);
	return 0;
}

static int
read_line(struct textio *t)
{
	char got[4096];
	ssize_t n = read(0, got, sizeof(got));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n > 0)
		return buf_add(&t->typed, got, (size_t)n) < 0 ? -1 : next_line(t);
	if (t->typed.n > 0) {           /* the last line has no newline */
		n = (ssize_t)t->typed.n;
		if (send_question(t, (size_t)n) < 0)
			return -1;
		buf_drop(&t->typed, (size_t)n);
		return 0;
	}
	print_tty("\n");
	t->state = TEXTIO_NOTHING;
	return 0;
}

/* Change state as far as possible without waiting. */
static int
advance(struct textio *t)
{
	if (t->state == TEXTIO_DIALOG && t->dialog->ended)
		t->state = TEXTIO_PROMPT;
	if (t->state == TEXTIO_PROMPT && t->out.n == 0) {
		print_tty("> ");
		t->state = TEXTIO_LINE;
		if (next_line(t) < 0)   /* it was typed ahead */
			return -1;
	}
	if (t->state == TEXTIO_NOTHING && t->feed.n == 0)
		streams_shut(&t->in);
	return 0;
}

int
textio_open(struct textio *t, int in, int text, int questions, struct dialog *c, char **texts, int n)
{
	memset(t, 0, sizeof(*t));
	t->in = in;
	t->text = text;
	t->dialog = c;
	t->state = questions ? TEXTIO_PROMPT : TEXTIO_NOTHING;
	if (in >= 0)
		(void)fcntl(in, F_SETFL, O_NONBLOCK);
	if (text >= 0)
		(void)fcntl(text, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < n; i++)
		if (buf_add(&t->feed, texts[i], strlen(texts[i]) + 1) < 0)
			return -1;
	return advance(t);
}

void
textio_close(struct textio *t)
{
	streams_shut(&t->in);
	streams_shut(&t->text);
	buf_free(&t->feed);
	buf_free(&t->out);
	buf_free(&t->typed);
}

static void
write_feed(struct textio *t)
{
	ssize_t n = write(t->in, t->feed.p, t->feed.n);

	if (n > 0)
		buf_drop(&t->feed, (size_t)n);
	else if (errno != EAGAIN && errno != EINTR)
		streams_shut(&t->in);           /* the reason is known when it ends */
}

/* Read text for output; a NUL ends an answer. */
static int
read_text(struct textio *t)
{
	unsigned char got[4096];
	ssize_t n = read(t->text, got, sizeof(got));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0) {
		streams_shut(&t->text);
		return 0;
	}
	for (ssize_t i = 0; i < n; i++) {
		if (got[i] == 0)
			/* its ids may not have arrived yet */
			t->state = t->dialog ? TEXTIO_DIALOG : TEXTIO_PROMPT;
		if (buf_addc(&t->out, got[i] ? got[i] : '\n') < 0)
			return -1;
	}
	return 0;
}

/* Write little at a time: a terminal that polls writable may accept only a part. */
static int
write_text(struct textio *t)
{
	ssize_t n = write(1, t->out.p, t->out.n < 512 ? t->out.n : 512);

	if (n > 0)
		buf_drop(&t->out, (size_t)n);
	else if (errno != EAGAIN && errno != EINTR) {
		t->gone = errno == EPIPE;
		return fail(FAIL_SYSTEM, "standard output: cannot write:");
	}
	return 0;
}

void
textio_poll(struct textio *t, struct pollfd p[TEXTIO_POLL])
{
	int typed = t->state == TEXTIO_LINE;

	p[0] = (struct pollfd){.fd = t->feed.n > 0 ? t->in : -1, .events = POLLOUT};
	p[1] = (struct pollfd){.fd = typed ? 0 : -1, .events = POLLIN};
	p[2] = (struct pollfd){.fd = t->out.n == 0 ? t->text : -1, .events = POLLIN};
	p[3] = (struct pollfd){.fd = t->out.n > 0 ? 1 : -1, .events = POLLOUT};
}

int
textio_step(struct textio *t, const struct pollfd p[TEXTIO_POLL])
{
	if (p[0].revents)
		write_feed(t);
	if ((p[1].revents && read_line(t) < 0) || (p[2].revents && read_text(t) < 0) || (p[3].revents && write_text(t) < 0))
		return -1;
	return advance(t);
}

int
textio_done(const struct textio *t)
{
	return t->text < 0 && t->out.n == 0;
}
