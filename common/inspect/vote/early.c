#include "inspect/vote/early.h"

#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "inspect/answer.h"
#include "inspect/vote/ballot.h"
#include "stage/stage.h"

/* The paths of a request. */
struct early_question {
	struct ballot *ballot;          /* of finished paths */
	uint64_t n;                     /* paths in all */
	uint64_t live;                  /* paths that are known and not finished */
	int decided;
};

struct early_path {
	uint64_t seq;
	struct early_question *question;
};

void
early_open(struct early *e, const struct tokenizer *t, const struct extract *extract,
    struct link *prompts)
{
	*e = (struct early){.extract = extract, .prompts = prompts};
	replies_open(&e->replies, t);
}

/* --- questions and paths --- */

static void
question_free(struct early *e, struct early_question *q)
{
	table_del(&e->questions, q->ballot->id, q->ballot->id_len);
	ballot_free(q->ballot);
	free(q);
}

/* The question of an id, which is added if it is new. NULL and a message on failure. */
static struct early_question *
question_find(struct early *e, const char *id, size_t n)
{
	struct early_question *q = table_get(&e->questions, id, n);

	if (q)
		return q;
	q = mem_new(1, sizeof(*q));
	if (!q || !(q->ballot = ballot_new(id, n)) ||
	    table_put(&e->questions, q->ballot->id, n, q) < 0) {
		if (q)
			ballot_free(q->ballot);
		free(q);
		return NULL;
	}
	return q;
}

static struct early_path *
path_find(const struct early *e, uint64_t seq)
{
	return table_get(&e->paths, &seq, sizeof(seq));
}

/* A path is over; its question is forgotten with its last path. */
static void
path_end(struct early *e, struct early_path *p)
{
	struct early_question *q = p->question;

	table_del(&e->paths, &p->seq, sizeof(p->seq));
	free(p);
	if (--q->live == 0 && q->ballot->n >= q->n)
		question_free(e, q);
}

/* The prompt of a path, whose request is known to e->replies. */
static int
path_add(struct early *e, uint64_t seq)
{
	uint64_t n = 0;
	const char *id = replies_request(&e->replies, seq, &n);
	struct early_question *q = id ? question_find(e, id, strlen(id)) : NULL;
	struct early_path *p = q ? mem_new(1, sizeof(*p)) : NULL;

	if (!id)
		return 0;
	if (!p)
		return -1;
	*p = (struct early_path){seq, q};
	q->live++;
	q->n = n > q->n ? n : q->n;
	return table_put(&e->paths, &p->seq, sizeof(p->seq), p);
}

/* Receive a prompt. Returns 0, or -1 and a message. */
static int
read_prompt(struct early *e)
{
	struct frame f;
	int r;

	frame_init(&f);
	r = link_receive(e->prompts, &f);
	if (r > 0 && f.op == OP_ERROR)
		r = stage_upstream(&f, e->prompts);
	if (r > 0 && (r = replies_prompt(&e->replies, &f)) < 0)
		r = fail_in("%s", e->prompts->name);
	if (r == 0 && (f.op == OP_FAILED || (f.op == OP_NONE && f.nspans > 0)))
		r = path_add(e, f.op == OP_FAILED ? f.seq : f.spans[0].seq);
	frame_free(&f);
	return r < 0 ? -1 : 0;
}

/* --- finished paths --- */

/* Count the answer line of a path. Returns 0, or -1 and a message. */
static int
question_count(struct early *e, struct early_question *q, const char *line, size_t n)
{
	struct buf found = {0};
	struct answer a;
	int r = answer_read(&a, line, n, NULL), valid;

	valid = r == 0 && a.finished && a.text ? extract_answer(e->extract, a.text, &found) : 0;
	if (r == 0)
		r = ballot_add(q->ballot, a.index >= 0 ? (uint64_t)a.index : q->ballot->n,
		    valid > 0 ? (const char *)found.p : NULL, found.n, a.logprob);
	if (r < 0 && fail_status() == FAIL_DATA)        /* a repeated id: no decision */
		r = q->n = 0;
	if (!q->decided && q->ballot->n < q->n &&
	    ballot_decided(q->ballot, q->n - q->ballot->n)) {
		q->decided = 1;
		e->decided++;
	}
	answer_free(&a);
	buf_free(&found);
	return r;
}

/* Count the path that a frame ends, if it ends one. Returns 0, or -1 and a message. */
static int
path_count(struct early *e, struct frame *f)
{
	struct early_path *p = path_find(e, f->seq);
	int r = 0;

	if (!frame_frees(f) || !p || e->lines.n == 0)
		return 0;
	e->lines.p[e->lines.n - 1] = 0;         /* its newline */
	r = question_count(e, p->question, (const char *)e->lines.p, e->lines.n - 1);
	path_end(e, p);
	return r;
}

/* --- frames --- */

/* The string `precision` of the key `ended`, or to unchanged. */
static void
read_precision(const struct frame *f, char *to, size_t size)
{
	const struct frame_key *k = frame_other(f, "ended");
	msgpack_unpacked u;

	msgpack_unpacked_init(&u);
	if (k && msgpack_unpack_next(&u, (const char *)k->value, k->nvalue, NULL) ==
	    MSGPACK_UNPACK_SUCCESS && u.data.type == MSGPACK_OBJECT_MAP) {
		for (uint32_t i = 0; i < u.data.via.map.size; i++) {
			const msgpack_object *name = &u.data.via.map.ptr[i].key;
			const msgpack_object *v = &u.data.via.map.ptr[i].val;

			if (name->type == MSGPACK_OBJECT_STR && name->via.str.size == 9 &&
			    memcmp(name->via.str.ptr, "precision", 9) == 0 &&
			    v->type == MSGPACK_OBJECT_STR && v->via.str.size < size)
				snprintf(to, size, "%.*s", (int)v->via.str.size, v->via.str.ptr);
		}
	}
	msgpack_unpacked_destroy(&u);
}

static void
pack_pair(msgpack_packer *k, const char *key, const char *text)
{
	msgpack_pack_str_with_body(k, key, strlen(key));
	msgpack_pack_str_with_body(k, text, strlen(text));
}

/* Make g the `free` of a path that is stopped. Returns 0, or -1 and a message. */
static int
set_free(const struct early *e, struct frame *g, const struct frame *f, uint64_t seq)
{
	msgpack_sbuffer b;
	msgpack_packer k;
	int r;

	g->op = OP_FREE;
	g->seq = seq;
	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&k, &b, msgpack_sbuffer_write);
	msgpack_pack_map(&k, 3);
	pack_pair(&k, "reason", "stopped");
	pack_pair(&k, "model", f->model);
	pack_pair(&k, "precision", e->precision);
	r = frame_set_other(g, "ended", b.data, b.size);
	msgpack_sbuffer_destroy(&b);
	return r;
}

/* Forward a frame that ends a path, and count it. Returns 0, or -1 and a message. */
static int
send_end(struct early *e, struct frame *f, struct link *out, int nout)
{
	int r;

	read_precision(f, e->precision, sizeof(e->precision));
	e->lines.n = 0;
	r = replies_frame(&e->replies, f, &e->lines);
	if (r == 0)
		r = path_count(e, f);
	return r < 0 ? -1 : stage_send(out, nout, f);
}

/* Make the new tokens of decided questions their last ones: spans [nspans] of f. Writes the
 * sequences to seqs [nspans]. Returns their number, or -1 and a message. */
static int
stop_paths(struct early *e, struct frame *f, uint64_t *seqs)
{
	struct span *spans = mem_raw((size_t)f->nspans, sizeof(*spans));
	int n = 0, r = spans ? 0 : -1;

	for (int i = 0; spans && i < f->nspans; i++) {
		struct early_path *p = path_find(e, f->spans[i].seq);

		spans[i] = f->spans[i];
		if (!p || !p->question->decided || !(spans[i].flags & SPAN_SAMPLE) ||
		    span_tokens(&spans[i]) != 1)
			continue;
		spans[i].flags = SPAN_LAST | (spans[i].flags & SPAN_DRAFT);
		seqs[n++] = spans[i].seq;
	}
	if (n > 0)
		r = frame_set_spans(f, spans, f->nspans);
	e->stopped += (uint64_t)n;
	free(spans);
	return r < 0 ? -1 : n;
}

/* New tokens. Returns 0, or -1 and a message. */
static int
early_tokens(struct early *e, struct frame *f, struct link *out, int nout)
{
	uint64_t *seqs = mem_raw((size_t)f->nspans + 1, sizeof(*seqs));
	int n = seqs ? stop_paths(e, f, seqs) : -1;
	int r = n < 0 || replies_frame(&e->replies, f, &e->lines) < 0 ? -1 :
	    stage_send(out, nout, f);
	struct frame g;

	frame_init(&g);
	for (int i = 0; i < n && r == 0; i++) {
		frame_free(&g);
		if ((r = set_free(e, &g, f, seqs[i])) == 0)
			r = send_end(e, &g, out, nout);
	}
	frame_free(&g);
	free(seqs);
	return r;
}

int
early_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct early *e = arg;

	while (!e->prompts->ended && (f->op == OP_END || replies_lacks(&e->replies, f)))
		if (read_prompt(e) < 0)
			return -1;
	if (frame_frees(f))
		return send_end(e, f, out, nout);
	if (f->op != OP_NONE || f->at != AT_EMBED)
		return 1;
	return early_tokens(e, f, out, nout);
}

void
early_close(struct early *e)
{
	struct table_slot *s = NULL;

	while ((s = table_next(&e->paths, s)))
		free(s->value);
	for (s = NULL; (s = table_next(&e->questions, s)); ) {
		struct early_question *q = s->value;

		ballot_free(q->ballot);
		free(q);
	}
	table_free(&e->paths);
	table_free(&e->questions);
	replies_close(&e->replies);
	buf_free(&e->lines);
}
