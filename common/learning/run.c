#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/lock.h"
#include "learning/learning_internal.h"

static int
open_source(struct run *r, source_open_fn *sample, scorer_open_fn *reference)
{
	const struct learning_options *o = r->o;

	if (o->data == LEARNING_GRPO ? sample(&r->source, o, &r->model) < 0 :
	    source_file_open(&r->source, o, &r->model) < 0)
		return -1;
	r->steps = r->source.steps;
	snprintf(r->data, sizeof(r->data), "%016llx", (unsigned long long)r->source.hash);
	return o->beta > 0 && o->data != LEARNING_SFT ? reference(&r->scorer, o, &r->model) : 0;
}

static int
open_run(struct run *r, source_open_fn *sample, scorer_open_fn *reference)
{
	const struct learning_options *o = r->o;

	if (model_open(&r->model, o->model) < 0 || !(r->pool = pool_new(1)))
		return -1;
	r->frames = (struct learn_frames){.rows = (uint32_t)o->rows,
	    .vocab = (uint64_t)r->model.config.vocab_size, .clip = {o->clip[0], o->clip[1]},
	    .beta = o->beta};
	if (settings_weights(r) < 0 || open_source(r, sample, reference) < 0)
		return -1;
	if (checkpoint_check(r) < 0)
		return -1;
	return o->dry_run ? 0 : checkpoint_resume(r);
}

static void
close_run(struct run *r)
{
	if (r->source.close)
		r->source.close(r->source.arg);
	if (r->scorer.close)
		r->scorer.close(r->scorer.arg);
	batch_free(&r->batch);
	pool_free(r->pool);
	model_close(&r->model);
	if (r->lock >= 0)
		close(r->lock);
	lock_release(&r->out_lock, r->out);
}

/* The records of a step, their gradients and their norm. */
static int
gradients_of(struct run *r, uint64_t step, struct step_result *s, struct frame *f)
{
	*s = (struct step_result){.began = clock_now()};
	if (r->source.next(r->source.arg, step, &r->pipe, &r->batch) < 0 ||
	    (r->scorer.score && r->scorer.score(r->scorer.arg, &r->pipe, &r->batch) < 0))
		return -1;
	return step_learn(r, s) < 0 || step_norm(r, step, s, f) < 0 ? -1 : 0;
}

static int
try_one(struct run *r)
{
	struct step_result s;
	struct frame f;
	int e;

	frame_init(&f);
	e = gradients_of(r, 1, &s, &f) < 0 || metrics_print(r, &s, 0) < 0 ||
	    (r->o->gradients && gradients_write(r, r->o->gradients, s.weight, &f) < 0) ? -1 : 0;
	frame_free(&f);
	return e;
}

static int
make_step(struct run *r, uint64_t step)
{
	struct step_result s;
	struct frame f;
	int e;

	frame_init(&f);
	e = gradients_of(r, step, &s, &f) < 0 || step_apply(r, step, &s, &f) < 0 ||
	    metrics_print(r, &s, step) < 0 ? -1 : 0;
	frame_free(&f);
	if (e < 0)      /* what another program reports stays as it is */
		return fail_status() == FAIL_SYSTEM ? -1 :
		    fail_in("step %llu", (unsigned long long)step);
	r->step = step;
	return 0;
}

/* All steps that are missing. */
static int
make_steps(struct run *r)
{
	uint64_t every = (uint64_t)r->o->save_every;

	while (r->step < r->steps) {
		if (make_step(r, r->step + 1) < 0)
			return -1;
		if (every > 0 && r->step % every == 0 && r->step < r->steps &&
		    checkpoint_save(r) < 0)
			return -1;
	}
	return checkpoint_save(r);
}

/* Signals that end a run, unless the parent ignores them, are read where it waits for the pipeline.
 * What would be SIGPIPE is a failed write.  The descriptor, or -1 and a message. */
static int
open_signals(void)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction a;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (int i = 0; i < 3; i++)
		if (sigaction(ends[i], NULL, &a) == 0 && a.sa_handler != SIG_IGN)
			sigaddset(&set, ends[i]);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	sigaddset(&set, SIGPIPE);
	if (fd < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return fail(FAIL_SYSTEM, "cannot watch for signals:");
	return fd;
}

int
learning_run(const struct learning_options *o, source_open_fn *sample, scorer_open_fn *reference,
    int *sig)
{
	struct run r = {.o = o, .lock = -1, .out = o->dry_run ? o->gradients : o->out,
	    .out_lock = -1};
	int e, signals;

	*sig = 0;
	if (pipeline_open(&r.pipe, o->feed, o->back) < 0)
		return -1;
	if ((signals = r.pipe.signals = open_signals()) < 0)
		return -1;
	e = open_run(&r, sample, reference) < 0 ||
	    (o->dry_run ? try_one(&r) : make_steps(&r)) < 0 || pipeline_end(&r.pipe) < 0 ? -1 : 0;
	*sig = r.pipe.sig;
	if (e < 0 && !*sig)
		pipeline_fail(&r.pipe);
	pipeline_drop(&r.pipe);
	close_run(&r);
	close(signals);
	return e;
}
