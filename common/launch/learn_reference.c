/*
 * The reference model of ds-learn --beta: a straight line of programs that do not learn, which
 * returns log probabilities.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/model.h"
#include "base/fail.h"
#include "base/io.h"
#include "launch/child.h"
#include "launch/learn_sample.h"
#include "launch/plan_internal.h"
#include "launch/streams.h"
#include "learning/learn_frame.h"

struct reference {
	struct plan plan;
	struct child *children;         /* [plan.n] */
	struct pipeline pipe;
	struct learn_frames frames;
};

/* --- the line --- */

static int
start_line(struct reference *a, int in, int out)
{
	int r = 0, next[2];
	sigset_t none;

	sigemptyset(&none);
	for (int i = 0; i < a->plan.n && r == 0; i++) {
		struct child_options s = {.in = in, .keep = {-1, -1, -1}, .bare = 1, .mask = &none,
		    .dir = program_folder()};

		if ((r = streams_pipe(next, i < a->plan.n - 1)) < 0)
			break;
		s.out = i < a->plan.n - 1 ? next[1] : out;
		a->children[i].command = &a->plan.commands[i];
		r = child_start(&a->children[i], &s);
		streams_shut(&next[1]);
		if (i > 0)
			streams_shut(&in);
		in = next[0];
	}
	return r;
}

static int
start(struct reference *a, const char *model)
{
	const struct plan_options o = {.model = model, .cut = CUT_FUSED};
	int feed[2], back[2] = {-1, -1}, r = -1;
	char to[32], from[32];

	if (plan_size(&a->plan, &o) < 0)
		return -1;
	(void)plan_program(&a->plan, &o, stage_programs[STAGE_EMBED].name);
	plan_layers(&a->plan, &o);
	(void)plan_worker(&a->plan, &o, STAGE_HEAD, -1);
	command_word(plan_worker(&a->plan, &o, STAGE_LOSS, -1), "-q");
	if (!(a->children = mem_new((size_t)a->plan.n, sizeof(*a->children))))
		return -1;
	if (streams_pipe(feed, 1) == 0 && streams_pipe(back, 1) == 0) {
		snprintf(to, sizeof(to), "/dev/fd/%d", feed[1]);
		snprintf(from, sizeof(from), "/dev/fd/%d", back[0]);
		r = start_line(a, feed[0], back[1]);
	}
	streams_shut(&feed[0]);
	streams_shut(&back[1]);
	/* the links are descriptors of their own */
	if (r == 0)
		r = pipeline_open(&a->pipe, to, from);
	streams_shut(&feed[1]);
	streams_shut(&back[0]);
	return r;
}

/* --- scoring --- */

/* Free the caches of the frame's sequences. */
static int
free_sequences(struct reference *a, uint64_t from, uint64_t to)
{
	struct frame f;
	int r = 0;

	for (; from < to && r == 0; from++) {
		frame_init(&f);
		f.op = OP_FREE;
		f.seq = from;
		f.changed = 1;
		r = pipeline_send(&a->pipe, &f);
		frame_free(&f);
	}
	return r;
}

/* Copy the log probabilities of n records from a frame, in the order in which they were sent. */
static int
copy_scores(struct frame *f, struct batch *b, size_t from, size_t n)
{
	const struct tensor *t = frame_require(f, "learn.logprob", F32, f->rows, 0);
	const float *p = t ? t->data : NULL;
	uint64_t rows = 0;

	for (size_t i = from; i < from + n; i++)
		rows += learn_record_rows(b->p[i]);
	if (!p || rows != f->rows)
		return p ? fail(FAIL_DATA, "the reference returned other rows") : -1;
	for (size_t i = from; i < from + n; i++) {
		struct learn_record *r = b->p[i];

		if (!(r->reference = mem_new(r->n, sizeof(*r->reference))))
			return -1;
		rows = learn_record_rows(r);
		memcpy(r->reference + 1, p, rows * sizeof(*p));
		p += rows;
	}
	return 0;
}

/* Score n records as one frame. */
static int
score_frame(struct reference *a, struct batch *b, size_t from, size_t n)
{
	uint64_t first = a->pipe.sequence;
	struct frame f;
	int r;

	frame_init(&f);
	r = learn_frame_make(&f, &a->frames, &a->pipe, b, from, n) < 0 ||
	    pipeline_send(&a->pipe, &f) < 0 ? -1 : 0;
	while (r == 0) {
		r = pipeline_receive(&a->pipe, &f);
		if (r == 0 && f.op == OP_NONE)
			break;
	}
	if (r == 0)
		r = copy_scores(&f, b, from, n);
	frame_free(&f);
	return r < 0 ? -1 : free_sequences(a, first, a->pipe.sequence);
}

static int
score(void *arg, struct pipeline *p, struct batch *b)
{
	struct reference *a = arg;
	struct batch missing = {0};
	int r = 0;

	a->pipe.signals = p->signals;
	for (size_t i = 0; i < b->n && r == 0; i++)
		r = b->p[i]->reference ? 0 : batch_add(&missing, b->p[i]);
	for (size_t i = 0; i < missing.n && r == 0; ) {
		size_t n = learn_frame_fit(&a->frames, &missing, i);

		r = score_frame(a, &missing, i, n);
		i += n;
	}
	batch_free(&missing);
	p->sig = a->pipe.sig;
	return r < 0 ? fail_in("the reference model") : 0;
}

static void
close_reference(void *arg)
{
	struct reference *a = arg;

	/* from the last on: none sees the end of another, which it would report */
	for (int i = a->plan.n - 1; i >= 0 && a->children; i--)
		if (a->children[i].pid > 0) {
			(void)kill(a->children[i].pid, SIGKILL);
			while (waitpid(a->children[i].pid, NULL, 0) < 0 && errno == EINTR)
				continue;
		}
	pipeline_drop(&a->pipe);
	free(a->children);
	plan_free(&a->plan);
	free(a);
}

/* Once, and before its programs would say it each. */
static int
check_reference(const char *path, const struct model *learned)
{
	struct model m;
	int r = 0;

	if (model_open(&m, path) < 0)
		return fail_in("--reference");
	if (m.config.vocab_size != learned->config.vocab_size)
		r = fail(FAIL_DATA, "--reference '%.200s' has %d tokens, the model %d: give one "
		    "with its tokens", path, m.config.vocab_size, learned->config.vocab_size);
	model_close(&m);
	return r;
}

int
learn_reference_open(struct batch_scorer *scorer, const struct learning_options *o,
    const struct model *m)
{
	struct reference *a;

	if ((o->reference && check_reference(o->reference, m) < 0) ||
	    !(a = mem_new(1, sizeof(*a))))
		return -1;
	*a = (struct reference){.frames = {.rows = (uint32_t)o->rows,
	    .vocab = (uint64_t)m->config.vocab_size, .score = 1}, .pipe = {.signals = -1}};
	*scorer = (struct batch_scorer){.arg = a, .score = score, .close = close_reference};
	return start(a, o->reference ? o->reference : o->model);
}
