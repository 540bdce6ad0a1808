#include "stage/replies.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "stage/replies_internal.h"

#define LLU(x) ((unsigned long long)(x))

void
replies_open(struct replies *a, const struct tokenizer *t)
{
	*a = (struct replies){.rules = speech_rules(t)};
}

/* Free all but the line and the id.  */
static void
clear(struct reply *w)
{
	stops_free(&w->stops);
	free(w->prompt);
	free(w->ids);
	free(w->logprobs);
	w->prompt = NULL;
	w->ids = NULL;
	w->logprobs = NULL;
	buf_free(&w->speech.part);
	buf_free(&w->text);
	buf_free(&w->reasoning);
	buf_free(&w->answer);
}

static void
drop(struct replies *a, struct reply *w)
{
	*(w->prev ? &w->prev->next : &a->first) = w->next;
	*(w->next ? &w->next->prev : &a->last) = w->prev;
	(void)table_del(&a->live, &w->seq, sizeof(w->seq));
	clear(w);
	buf_free(&w->line);
	free(w->id);
	free(w);
}

void
replies_close(struct replies *a)
{
	while (a->first)
		drop(a, a->first);
	table_free(&a->live);
}

static struct reply *
find(const struct replies *a, uint64_t seq)
{
	struct reply *w = table_get(&a->live, &seq, sizeof(seq));

	return w && !w->ended ? w : NULL;
}

/* --- prompts --- */

int
replies_prompt(struct replies *a, struct frame *f)
{
	uint64_t seq = f->op == OP_FAILED ? f->seq : f->nspans > 0 ? f->spans[0].seq : 0;
	struct reply *w;

	if (f->op != OP_FAILED && f->op != OP_NONE)
		return 0;
	if (a->any && seq <= a->newest)
		return fail(FAIL_DATA, "sequence %llu: its prompt comes after that of %llu",
		    LLU(seq), LLU(a->newest));
	if (!(w = mem_new(1, sizeof(*w))))
		return -1;
	w->seq = seq;
	w->prev = a->last;
	*(a->last ? &a->last->next : &a->first) = w;
	a->last = w;
	a->any = 1;
	a->newest = seq;
	a->unstarted++;
	if (reply_prompt(a, w, f) < 0)
		return fail_in("sequence %llu", LLU(seq));
	return table_put(&a->live, &w->seq, sizeof(w->seq), w);
}

int
replies_lacks(const struct replies *a, const struct frame *f)
{
	uint64_t most = 0;
	int any = 0;

	for (int i = 0; f->op == OP_NONE && i < f->nspans; i++) {
		most = f->spans[i].seq > most ? f->spans[i].seq : most;
		any = 1;
	}
	if (frame_frees(f)) {
		most = f->seq;
		any = 1;
	}
	return any && (!a->any || most > a->newest);
}

const char *
replies_request(const struct replies *a, uint64_t seq, uint64_t *paths)
{
	const struct reply *w = find(a, seq);

	if (!w)
		return NULL;
	*paths = w->paths;
	return w->id;
}

/* --- tokens --- */

static int
add_text(void *to, enum speech_kind kind, const unsigned char *p, size_t n)
{
	struct reply *w = to;

	if (buf_add(&w->text, p, n) < 0)
		return -1;
	if (kind == SPEECH_MARKER) {
		w->since = 0;
		return 0;
	}
	if (kind == SPEECH_ANSWER)
		for (; w->trim && n > 0 && *p == '\n'; n--)
			p++;
	w->trim = w->trim && n == 0;
	w->since += n;
	return buf_add(kind == SPEECH_ANSWER ? &w->answer : &w->reasoning, p, n);
}

static int
add_token(struct replies *a, struct reply *w, int32_t id, float logprob)
{
	int before = w->speech.reasoning;

	if (mem_grow(&w->ids, &w->ids_cap, w->n + 1, sizeof(*w->ids)) < 0 ||
	    mem_grow(&w->logprobs, &w->logprobs_cap, w->n + 1, sizeof(*w->logprobs)) < 0)
		return -1;
	w->ids[w->n] = id;
	w->logprobs[w->n++] = logprob;
	w->before = w->text.n;
	if (speech_add(&a->rules, &w->speech, id, add_text, w) < 0)
		return -1;
	w->thought |= w->speech.reasoning;
	w->trim |= before && !w->speech.reasoning;
	return speech_settle(&w->speech, 0, add_text, w);
}

static int
add_span(struct replies *a, const struct span *p, const int32_t *ids, const float *logprobs)
{
	struct reply *w = find(a, p->seq);
	uint64_t held = w ? w->prompt_tokens + w->n : 0;
	/* a plan's pipeline that was restarted may sample the last token again */
	uint32_t again = held > p->pos ? (uint32_t)(held - p->pos) : 0;

	if (p->n == 0)
		return 0;
	if (!w)
		return fail(FAIL_DATA, "sequence %llu: tokens without a prompt, or after their end",
		    LLU(p->seq));
	if (held < p->pos)
		return fail(FAIL_DATA, "sequence %llu: position %llu: its token is missing",
		    LLU(p->seq), LLU(held));
	a->unstarted -= !w->started;
	w->started = 1;
	for (uint32_t i = again; i < span_tokens(p); i++)
		if (add_token(a, w, ids[i], logprobs ? logprobs[i] : NAN) < 0)
			return fail_in("sequence %llu", LLU(p->seq));
	return 0;
}

static int
add_rows(struct replies *a, struct frame *f)
{
	struct tensor *ids, *logprobs = frame_tensor(f, "logprob");
	uint32_t row = 0;

	if (f->at != AT_EMBED)
		return frame_stray(f, "");
	if (!(ids = frame_require(f, "ids", I32, f->rows, 0)) ||
	    (logprobs && !(logprobs = frame_require(f, "logprob", F32, f->rows, 0))))
		return -1;
	for (int i = 0; i < f->nspans; i++) {
		const float *p = logprobs ? (float *)logprobs->data + row : NULL;

		if (add_span(a, &f->spans[i], (int32_t *)ids->data + row, p) < 0)
			return -1;
		row += f->spans[i].n;
	}
	return 0;
}

/* --- lines --- */

/* The first reply from `from` on with the id and index of w; NULL: none.  */
static struct reply *
find_equal(struct reply *from, const struct reply *w)
{
	while (from && (from->index != w->index || strcmp(from->id, w->id) != 0))
		from = from->next;
	return from;
}

/* Append the lines whose turn it is after w, which is dropped.  */
static int
put_waiting(struct replies *a, struct reply *w, struct buf *out)
{
	while (w && w->ended) {
		struct reply *next = a->ordered ? w->next : find_equal(w->next, w);

		if (buf_add(out, w->line.p, w->line.n) < 0)
			return -1;
		drop(a, w);
		w = next;
	}
	return 0;
}

/* The sequence is complete.  */
static int
finish(struct replies *a, struct reply *w, const char *reason, const char *error, struct buf *out)
{
	a->unstarted -= !w->started;
	w->started = 1;
	if (speech_settle(&w->speech, 1, add_text, w) < 0)
		return -1;
	if (strcmp(reason, "stop") == 0)
		reply_cut(w);
	a->lines++;
	if (reply_line(w, reason, error, &w->line) < 0)
		return -1;
	w->ended = 1;
	clear(w);
	/* with equal ids, answers follow the order of the prompts: --done relies on it */
	return put_waiting(a, a->ordered ? a->first : find_equal(a->first, w), out);
}

int
replies_frame(struct replies *a, struct frame *f, struct buf *out)
{
	struct reply *w;

	if (f->op == OP_NONE)
		return add_rows(a, f);
	if (!frame_frees(f) || !(w = find(a, f->seq)))
		return 0;
	if (f->op == OP_FAILED)
		return finish(a, w, "error", f->text, out);
	return finish(a, w, reply_ended(w, f), NULL, out);
}

int64_t
replies_end(struct replies *a, struct buf *out)
{
	int64_t n = 0;

	for (; a->first; n++)   /* what waits for its turn waits for the first */
		if (finish(a, a->first, "error", "the stream ended before the sequence", out) < 0)
			return -1;
	return n;
}
