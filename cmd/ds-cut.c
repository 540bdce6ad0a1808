/* ds-cut: some of the frames, rows and tensors of a stream.  */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "filter.h"
#include "inspect/select.h"

static const char help[] =
"usage: ds-cut [-l LAYERS] [--at STAGES] [--seq SEQS] [--pos POSITIONS]\n"
"           [--tensor NAMES] [--as STAGE] [--allow-none] [-i FROM ...]\n"
"           [-o TO ...] [-v] [FROM ...]\n"
"\n"
"Forwards the selected frames, rows and tensors.\n"
"\n"
"  -l, --layers LAYERS  frames of these layers: " RANGES_SYNTAX "\n"
"  --at STAGES          at these:" AT_NAMES " ...\n"
"  --seq SEQS           rows of these sequences, in the syntax of -l\n"
"  --pos POSITIONS      rows at these positions, in the syntax of -l\n"
"  --tensor NAMES       these tensors: h,expert.w or expert.*\n"
"  --as STAGE           change the next stage of the frames: head, or attn:4\n"
"  --allow-none         exit with status 0 even if nothing was selected\n"
"  -i, --input FROM     same as FROM: streams, read in order (standard input)\n"
"  -o, --output TO      output, repeatable; each gets every frame (stdout)\n"
"  -v                   print a summary at the end\n"
"  -V, -h               print the version; print this text\n";

struct cut {
	struct select select;
	enum at as;
	int layer;
	int allow_none;
	struct count { unsigned long long frames, rows, tensors; } in, out;     /* of batches */
};

static const struct option longs[] = {
	{"at", 1, NULL, 256}, {"seq", 1, NULL, 257}, {"pos", 1, NULL, 258},
	{"tensor", 1, NULL, 259}, {"as", 1, NULL, 260}, {"allow-none", 0, NULL, 261}, {0}};

/* STAGE or STAGE:LAYER. */
static int
parse_as(struct cut *c, const char *text)
{
	size_t n = strcspn(text, ":");
	long layer = -1;

	c->as = at_parse(text, n);
	if (c->as == AT_OTHER)
		return fail(FAIL_USAGE, "--as '%s': stages are" AT_NAMES AT_BACK_NAMES, text);
	if (text[n] && options_int("--as STAGE", text + n + 1, 0, LAYERS_MAX - 1, &layer) < 0)
		return -1;
	c->layer = (int)layer;
	return 0;
}

static int
own(int c, const char *arg, void *to)
{
	struct cut *cut = to;

	if (c == 'l')
		return select_option(&cut->select, "-l", arg);
	if (c == 260)
		return parse_as(cut, arg);
	if (c == 261) {
		cut->allow_none = 1;
		return 0;
	}
	return select_option(&cut->select, c == 256 ? "--at" : c == 257 ? "--seq" : c == 258 ? "--pos" : "--tensor", arg);
}

static int
rewrite_at(const struct cut *c, struct frame *f)
{
	int layer = c->layer >= 0 ? c->layer : f->layer, has = at_layered(c->as);

	if (has && layer < 0)
		return fail(FAIL_USAGE, "--as %s: the frame has no layer: write %s:LAYER", at_name(c->as), at_name(c->as));
	frame_set_at(f, c->as, has || c->layer >= 0 ? layer : -1);
	return 0;
}

static void
count(struct count *c, const struct frame *f)
{
	c->frames++;
	c->rows += f->rows;
	c->tensors += (unsigned long long)f->ntensors;
}

static int
cut_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct cut *c = arg;
	int r = 1;

	(void)out, (void)nout;
	if (f->op == OP_NONE)
		count(&c->in, f);
	if (frame_frees(f) || f->op == OP_SAVE || f->op == OP_LOAD)
		r = ranges_has(&c->select.seqs, f->seq);
	else if (f->op == OP_FORK)
		r = ranges_has(&c->select.seqs, f->from) && ranges_has(&c->select.seqs, f->to);
	else if (f->op == OP_NONE)
		r = select_frame(&c->select, f) ? select_cut(&c->select, f) : 0;
	if (r > 0 && f->op == OP_NONE && c->as != AT_NONE && rewrite_at(c, f) < 0)
		r = -1;
	if (r > 0 && f->op == OP_NONE)
		count(&c->out, f);
	else if (r > 0 && c->select.seqs.n > 0)         /* free and fork concern the selected
							 * sequences */
		c->out.frames += frame_frees(f) || f->op == OP_FORK;
	return r;
}

/* 1 if the options selected something that never came.  */
static int
is_nothing(const struct cut *c)
{
	return select_is_set(&c->select) &&
	    (c->out.frames == 0 || (c->select.names && c->select.met[SELECT_TENSOR] == 0));
}

int
main(int argc, char **argv)
{
	static struct filter f;
	static struct cut c;
	int status;

	f.o = (struct options){.help = help, .letters = "l:", .longs = longs, .own = own, .to = &c,
	    .streams = 1, .max_in = LINKS_MAX, .max_out = LINKS_MAX};
	options_parse(&f.o, argc, argv);
	filter_links(&f);
	status = filter_run(&f, cut_frame, &c);
	if (f.o.verbose && status == 0)
		warn("%llu of %llu rows, %llu of %llu tensors passed on", c.out.rows, c.in.rows,
		    c.out.tensors, c.in.tensors);
	if (status == 0 && !c.allow_none &&
	    (is_nothing(&c) ? select_fail_empty(&c.select, "selected") : select_check_names(&c.select)) < 0) {
		warn("%s", fail_text());
		status = fail_status();
	}
	select_free(&c.select);
	return status;
}
