#include "stage/detok.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

#define DIM "\033[2m"
#define UNDIM "\033[0m"

struct detok_seq {
	uint64_t id;                    /* key of `live` */
	struct detok_seq *next;
	struct buf text;                /* complete text that is not printed yet */
	struct speech speech;
	int trim;                       /* newlines at the start of the answer are dropped */
	int over;                       /* complete */
};

void
detok_open(struct detok *d, const struct tokenizer *t)
{
	memset(d, 0, sizeof(*d));
	d->rules = speech_rules(t);
	d->separator = '\n';
}

/* Find or add the entry of a sequence. NULL and a message on failure. */
static struct detok_seq *
seq_get(struct detok *d, uint64_t id)
{
	struct detok_seq *s = table_get(&d->live, &id, sizeof(id));

	if (s)
		return s;
	free(table_del(&d->ended, &id, sizeof(id)));    /* the id is used again */
	s = mem_new(1, sizeof(*s));
	if (!s)
		return NULL;
	s->id = id;
	s->speech.reasoning = d->thinks;
	if (table_put(&d->live, &s->id, sizeof(s->id), s) < 0) {
		free(s);
		return NULL;
	}
	if (d->last)
		d->last->next = s;
	else
		d->first = s;
	d->last = s;
	return s;
}

static void
seq_free(struct detok_seq *s)
{
	buf_free(&s->text);
	buf_free(&s->speech.part);
	free(s);
}

struct listener {
	const struct detok *d;
	struct detok_seq *s;
};

/* Append n bytes of well-formed text to the sequence's output. */
static int
add_text(void *to, enum speech_kind kind, const unsigned char *p, size_t n)
{
	const struct detok *d = ((struct listener *)to)->d;
	struct detok_seq *s = ((struct listener *)to)->s;
	int dim = d->dim && kind != SPEECH_ANSWER;

	if (d->quiet && kind != SPEECH_ANSWER)
		return 0;
	for (; s->trim && n > 0 && *p == '\n'; n--)
		p++;
	if (n == 0)
		return 0;
	s->trim = 0;
	if ((dim && buf_add(&s->text, DIM, strlen(DIM)) < 0) || buf_add(&s->text, p, n) < 0)
		return -1;
	return dim ? buf_add(&s->text, UNDIM, strlen(UNDIM)) : 0;
}

static int
settle(const struct detok *d, struct detok_seq *s, int all)
{
	return speech_settle(&s->speech, all, add_text, &(struct listener){d, s});
}

static int
add_token(const struct detok *d, struct detok_seq *s, int64_t id)
{
	int before = s->speech.reasoning;

	if (speech_add(&d->rules, &s->speech, id, add_text, &(struct listener){d, s}) < 0)
		return fail_in("sequence %llu", (unsigned long long)s->id);
	if (before && !s->speech.reasoning)
		s->trim = d->quiet;
	return 0;
}

/* The sequence is complete. */
static int
finish(struct detok *d, struct detok_seq *s)
{
	if (settle(d, s, 1) < 0 || buf_addc(&s->text, d->separator) < 0)
		return -1;
	s->over = 1;
	(void)table_del(&d->live, &s->id, sizeof(s->id));
	return 0;
}

/* Remember a finished sequence, so that the `free` after its last token is not taken for one of
 * a sequence without text. */
static int
expect_free(struct detok *d, uint64_t id)
{
	uint64_t *key = mem_new(1, sizeof(*key));

	if (!key)
		return -1;
	*key = id;
	if (table_put(&d->ended, key, sizeof(*key), key) < 0) {
		free(key);
		return -1;
	}
	return 0;
}

static int
add_rows(struct detok *d, struct frame *f)
{
	struct tensor *t;
	const int32_t *id;

	if (f->at != AT_EMBED)
		return frame_stray(f, "");
	t = frame_require(f, "ids", I32, f->rows, 0);
	if (!t)
		return -1;
	id = t->data;
	for (int i = 0; i < f->nspans; i++) {
		struct detok_seq *s;

		if (f->spans[i].n == 0 && f->spans[i].flags == 0)       /* an empty span */
			continue;
		if (!(s = seq_get(d, f->spans[i].seq)))
			return -1;
		for (uint32_t row = 0; row < span_tokens(&f->spans[i]); row++)
			if (add_token(d, s, id[row]) < 0)
				return -1;
		id += f->spans[i].n;
		if (settle(d, s, 0) < 0)
			return -1;
		if (f->spans[i].flags & SPAN_LAST)
			if (finish(d, s) < 0 || expect_free(d, f->spans[i].seq) < 0)
				return -1;
	}
	return 0;
}

static int
on_free(struct detok *d, uint64_t id)
{
	uint64_t *ended = table_del(&d->ended, &id, sizeof(id));
	struct detok_seq *s;

	free(ended);
	if (ended)
		return 0;
	s = seq_get(d, id);
	return s ? finish(d, s) : -1;
}

/* Move to `out` the text whose turn it is. */
static int
print(struct detok *d, struct buf *out)
{
	struct detok_seq *s;

	while ((s = d->first)) {
		if (buf_add(out, s->text.p, s->text.n) < 0)
			return -1;
		s->text.n = 0;
		if (!s->over)
			break;
		d->first = s->next;
		if (!d->first)
			d->last = NULL;
		seq_free(s);
	}
	return 0;
}

static void
forget_ended(struct detok *d)
{
	for (struct table_slot *slot = NULL; (slot = table_next(&d->ended, slot)); )
		free(slot->value);
	table_free(&d->ended);
}

/* End of the stream: another stream may use the same sequence ids. */
static int
on_end(struct detok *d)
{
	for (struct detok_seq *s = d->first; s; s = s->next)
		if (!s->over && finish(d, s) < 0)
			return -1;
	forget_ended(d);
	return 0;
}

int
detok_frame(struct detok *d, struct frame *f, struct buf *out)
{
	int r = 0;

	if (f->op == OP_NONE)
		r = add_rows(d, f);
	else if (frame_frees(f))
		r = on_free(d, f->seq);
	else if (f->op == OP_END)
		r = on_end(d);
	return print(d, out) < 0 ? -1 : r;
}

int
detok_end(struct detok *d, struct buf *out)
{
	return on_end(d) < 0 ? -1 : print(d, out);
}

void
detok_close(struct detok *d)
{
	struct detok_seq *s;

	while ((s = d->first)) {
		d->first = s->next;
		seq_free(s);
	}
	table_free(&d->live);
	forget_ended(d);
	d->last = NULL;
}
