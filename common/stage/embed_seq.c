/*
 * The sequences of ds-embed: from their first prompt until they are freed.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/embed_internal.h"

struct embed_seq *
seq_find(const struct embed *e, uint64_t seq)
{
	return table_get(&e->seqs, &seq, sizeof(seq));
}

struct embed_seq *
seq_named(const struct embed *e, int input, uint64_t seq)
{
	struct embed_name name = {seq, (uint64_t)input};

	return table_get(&e->names, &name, sizeof(name));
}

uint64_t
seq_fresh(struct embed *e)
{
	uint64_t seq;

	do
		seq = (UINT64_C(1) << 63) + e->fresh++;
	while (seq_find(e, seq) || kv_is_retained(e, seq));
	return seq;
}

struct embed_seq *
seq_new(struct embed *e, int input, uint64_t seq, uint32_t pos)
{
	struct embed_seq *s = mem_new(1, sizeof(*s));

	if (!s)
		return NULL;
	s->name = (struct embed_name){seq, (uint64_t)input};
	s->pos = s->through = pos;
	s->seq = seq;
	if (seq_find(e, seq))
		s->seq = seq_fresh(e);
	if (table_put(&e->names, &s->name, sizeof(s->name), s) < 0) {
		free(s);
		return NULL;
	}
	s->dead = 1;
	if (table_put(&e->seqs, &s->seq, sizeof(s->seq), s) < 0)
		return NULL;
	s->dead = 0;
	s->before = e->last;
	*(e->last ? &e->last->after : &e->first) = s;
	e->last = s;
	return kv_seq(e, s) < 0 ? NULL : s;
}

void
seq_returned(struct embed *e, struct embed_seq *s)
{
	e->away[s->batch] -= (size_t)s->in_flight;
	s->in_flight = s->asked = 0;
}

/* Remove it from the live sequences.  */
static void
seq_unlink(struct embed *e, struct embed_seq *s)
{
	if (s->dead)
		return;
	seq_returned(e, s);
	e->sampling -= (size_t)s->sampled;
	(void)table_del(&e->seqs, &s->seq, sizeof(s->seq));
	*(s->before ? &s->before->after : &e->first) = s->after;
	*(s->after ? &s->after->before : &e->last) = s->before;
	s->dead = 1;
}

/* Keep the name of a sequence that failed, for what its input may still bring of it; the last
 * RETIRED_MAX are kept.  */
static void
seq_retire(struct embed *e, struct embed_seq *s)
{
	struct embed_seq **slot = &e->retired[e->nretired++ % RETIRED_MAX];

	if (*slot)
		seq_drop(e, *slot);
	*slot = s;
	s->slot = slot;
}

void
seq_drop(struct embed *e, struct embed_seq *s)
{
	seq_unlink(e, s);
	if (s->slot)
		*s->slot = NULL;
	(void)table_del(&e->names, &s->name, sizeof(s->name));
	free(s->text);
	free(s);
}

int
seq_expect_echo(struct embed *e, uint64_t seq)
{
	struct embed_echo *echo = table_get(&e->echoes, &seq, sizeof(seq));

	if (!echo) {
		if (!(echo = mem_new(1, sizeof(*echo))))
			return -1;
		echo->seq = seq;
		if (table_put(&e->echoes, &echo->seq, sizeof(echo->seq), echo) < 0) {
			free(echo);
			return -1;
		}
	}
	echo->n++;
	return 0;
}

int
seq_echo(struct embed *e, uint64_t seq)
{
	struct embed_echo *echo = table_get(&e->echoes, &seq, sizeof(seq));

	if (!echo)
		return 0;
	if (--echo->n == 0) {
		(void)table_del(&e->echoes, &seq, sizeof(seq));
		free(echo);
	}
	return 1;
}

/* The frame is queued after all prompts of the sequence.  If none waits, it does not wait either:
 * prompts of others may need the pages that it frees.  */
int
seq_free(struct embed *e, struct embed_seq *s)
{
	struct embed_item p = {.span.seq = s->seq, .kind = s->text ? ITEM_FAILED : ITEM_FREE,
	    .text = s->text, .prefix = s->prefix};
	int first = s->prefix && s->prefix->begun && s->prefix->queued == 0;

	if ((s->text && e->loop >= 0 && seq_expect_echo(e, s->seq) < 0) ||
	    embed_push(first ? &e->passing : &e->prompts, p) < 0)
		return -1;
	kv_ending(e, s, 0);
	s->text = NULL;
	s->prefix = NULL;
	if (s->failed) {
		seq_unlink(e, s);
		seq_retire(e, s);
	} else
		seq_drop(e, s);
	return 0;
}

int
seq_end(struct embed *e, struct embed_seq *s)
{
	s->cancelled = e->loop >= 0 && (s->asked || (e->ring && s->through != s->pos));
	return s->cancelled ? 0 : seq_free(e, s);
}

int
seq_fail(struct embed *e, struct embed_seq *s, const char *text)
{
	if (s->failed)
		return 0;
	s->failed = 1;
	if (text && !(s->text = strndup(text, TEXT_MAX)))
		return fail(FAIL_SYSTEM, "no memory for a message");
	return seq_end(e, s);
}

int
seq_refuse(struct embed *e, struct embed_seq *s)
{
	char text[1024];

	fail_in("%s", program);
	memcpy(text, fail_text(), strlen(fail_text()) + 1);
	return seq_fail(e, s, text);
}
