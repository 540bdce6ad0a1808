#include "stage/stage.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/ranges.h"
#include "device/ops.h"
#include "stage/write_behind.h"
#include "stage/failed.h"
#include "stage/trace.h"

/* Add layers from..to of a model with n layers.  */
static int
add_layers(struct layers *l, const struct range *r, int n)
{
	uint64_t last = (uint64_t)n - 1, to = r->to == UINT64_MAX ? last : r->to;

	if (n < 1 || r->from > last || to > last)
		return -1;
	memset(l->has + r->from, 1, (size_t)(to - r->from + 1));
	return 0;
}

int
layers_parse(struct layers *l, const char *text, int n)
{
	struct ranges list = {0};
	int r;

	memset(l, 0, sizeof(*l));
	if (n > LAYERS_MAX)
		return fail(FAIL_DATA, "%d layers are more than %d", n, LAYERS_MAX);
	if (!text) {
		memset(l->has, 1, (size_t)n);
		return 0;
	}
	r = ranges_parse(&list, "-l", text);
	for (size_t i = 0; i < list.n && r == 0; i++)
		if ((r = add_layers(l, &list.r[i], n)) < 0)
			fail(FAIL_USAGE, "-l '%s': layers are 0 to %d, written " RANGES_SYNTAX, text, n - 1);
	ranges_free(&list);
	return r;
}

int
stage_send(struct link *out, int nout, struct frame *f)
{
	for (int i = 0; i < nout; i++)
		if (link_send(&out[i], f) < 0)
			return -1;
	if (f->op == OP_FAILED)
		failed_report(f, out, nout);
	return 0;
}

/* Prints the cause before programs downstream get the error frame and print its consequences.  */
int
stage_fail(struct link *out, int nout, const char *who)
{
	char text[1024], message[1100];
	struct frame e;
	int status = fail_status();

	fail_print();
	snprintf(text, sizeof(text), "%s", fail_text());
	snprintf(message, sizeof(message), "%s: %s", who, text);
	frame_init(&e);
	signal(SIGPIPE, SIG_IGN);       /* without a reader this program still ends with the
					 * message, not by the signal */
	if (frame_set_text(&e, message) == 0)
		(void)stage_send(out, nout, &e);
	frame_free(&e);
	fail_restore(status, text);
	return -1;
}

/* Length of the program's name in "ds-block: layer 3: ...", or 0: the text does not begin with
 * one.  */
static size_t
name_length(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyz-");

	return n < 32 && strncmp(text, "ds-", 3) == 0 && strncmp(text + n, ": ", 2) == 0 ? n : 0;
}

int
stage_upstream(const struct frame *f, const struct link *in)
{
	size_t n = in && link_is_pipe(in) ? name_length(f->text) : 0;

	if (n == 0)
		return fail(FAIL_SYSTEM, "upstream: %s", f->text);
	return fail(FAIL_SYSTEM, "upstream: %s%.*s failed", strstr(f->text, LOST_UPSTREAM) ? "the program before " : "", (int)n, f->text);
}

/* A tensor that the GPU still computes is complete once it was fetched.  */
static int
fetch_all(struct frame *f)
{
	for (int i = 0; i < f->ntensors; i++)
		if (frame_fetch(&f->tensors[i]) < 0)
			return -1;
	return 0;
}

/* How a stream ended.  Below 0: failed, with a message.  */
enum { ENDED, UPSTREAM = 1, REFUSED = -1, UNWRITTEN = -2, UNREAD = -3 };

/* Until a stream ends; f is its last frame.  */
static int
run(struct write_behind *b, struct link *in, struct frame *f, stage_fn *fn, void *arg)
{
	struct trace t;
	int over = 0, r;        /* over: the end frame was sent */

	while ((r = write_behind_receive(b, in, f)) > 0) {
		if (over && b->nout > 0) {
			fail(FAIL_SYSTEM, "%s: another stream follows the end frame, and is left unread: "
			    "give the streams as operands", in->name);
			return UNREAD;
		}
		if (f->op == OP_ERROR)
			return UPSTREAM;
		t = trace_begin(f);
		r = fn(arg, f, b->out, b->nout);
		if (r > 0 && (((t.start || write_behind_suits(b, f)) && fetch_all(f) < 0) || trace_end(&t, f) < 0))
			r = -1;
		if (r < 0)
			return REFUSED;
		if (f->op == OP_END && link_has_more(in))
			continue;       /* several input streams become one */
		over = f->op == OP_END;
		if ((r > 0 || over) && write_behind_send(b, f) < 0)
			return UNWRITTEN;
	}
	return r == 0 ? ENDED : over ? UNREAD : REFUSED;
}

int
stage_run(struct link *in, struct link *out, int nout, stage_fn *fn, void *arg, struct device *gpu)
{
	struct write_behind b;
	struct frame f;
	int r;

	frame_init(&f);
	write_behind_init(&b, out, nout, gpu);
	r = run(&b, in, &f, fn, arg);
	if (write_behind_end(&b) < 0)
		r = UNWRITTEN;
	if (r == UPSTREAM) {
		(void)stage_send(out, nout, &f);
		r = stage_upstream(&f, in);
	} else if (r == REFUSED) {
		r = stage_fail(out, nout, program);
	}
	frame_free(&f);
	return r < 0 ? -1 : 0;
}

int
stage_acts(const struct stage *s, const struct frame *f, enum at at)
{
	char where[64];

	if (f->op != OP_NONE || f->at != at)
		return 0;
	if (at_layered(at) && (f->layer >= LAYERS_MAX || !s->layers.has[f->layer]))
		return 0;
	if (f->model[0] && strcmp(f->model, s->model->weights.id) != 0)
		return fail(FAIL_DATA, "%s: the frame is of model %s, this is %s ('%s')",
		    frame_where(f, where, sizeof(where)), f->model, s->model->weights.id, s->model->weights.dir);
	return 1;
}

/* What frames state of the caches: F32 also where the type changes no bit. */
static enum dtype
cache_type(const struct stage *s)
{
	return cache_type_default(s->k->precision) == F32 ? s->device->cache_type : F32;
}

void
stage_stamp(const struct stage *s, struct frame *f)
{
	memcpy(f->model, s->model->weights.id, sizeof(f->model));
	f->precision = s->k->precision;
	f->cache_type = cache_type(s);
}

int
stage_multiplies(const struct stage *s, const struct frame *f, enum at at)
{
	int acts = stage_acts(s, f, at);
	char where[64];

	if (acts > 0 && f->precision != s->k->precision)
		return fail(FAIL_DATA, "%s: the frame is of precision %s, this stage of %s: give ds-embed and all stages the same --precision",
		    frame_where(f, where, sizeof(where)), precision_name(f->precision), precision_name(s->k->precision));
	if (acts > 0 && at == AT_ATTN && f->cache_type != cache_type(s))
		return fail(FAIL_DATA, "%s: the frame is of cache type %s, this stage of %s: give "
		    "ds-embed and all stages with caches the same --cache-type",
		    frame_where(f, where, sizeof(where)), cache_type_name(f->cache_type),
		    cache_type_name(cache_type(s)));
	return acts;
}

int
stage_learns(const struct stage *s, const struct frame *f, enum at back)
{
	return s->learn ? stage_multiplies(s, f, back) : 0;
}

int
stage_has_products(const struct stage *s)
{
	const char *name = precision_name(s->k->precision);
	int gpu = device_is_gpu(s->device);

	if (precision_on(s->k->precision, gpu))
		return 0;
	return fail(FAIL_USAGE, gpu ?
	    "--precision %s requires the CPU: leave out -d, or give another precision" :
	    "--precision %s requires a GPU: give -d cuda, or another precision", name);
}

float *
stage_hidden(const struct stage *s, struct frame *f)
{
	return s->device->ops->tensor(s->device, f, "h", F32, f->rows, (uint64_t)s->model->config.hidden_size);
}
