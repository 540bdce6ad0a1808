#include "plan/lines.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "launch/script.h"
#include "stage/stages.h"

struct builder {
	struct lines *o;
	const struct cost *c;
	const struct line_options *opt;
	int last;                       /* line whose output is not connected yet */
	int failed;
};

/* Append text to a line's command and, if is_label, to its label. */
static void
append(struct builder *k, int line, int is_label, const char *fmt, va_list ap)
{
	char text[512];
	int n = vsnprintf(text, sizeof(text), fmt, ap);
	struct line *l = &k->o->line[line];
	size_t used;

	if (k->failed || buf_add(&l->text, text, (size_t)n) < 0) {
		k->failed = 1;
	} else if (is_label) {
		used = strlen(l->label);
		snprintf(l->label + used, sizeof(l->label) - used, "%s", text);
	}
}

__attribute__((format(printf, 3, 4)))
static void
append_text(struct builder *k, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	append(k, line, 0, fmt, ap);
	va_end(ap);
}

/* Append the layers and experts of a line. */
__attribute__((format(printf, 3, 4)))
static void
append_label(struct builder *k, int line, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	append(k, line, 1, fmt, ap);
	va_end(ap);
}

/* Append words separated by blanks, quoted. */
static void
append_words(struct builder *k, int line, const char *words)
{
	char *copy = strdup(words), *save;

	for (char *w = copy ? strtok_r(copy, " ", &save) : NULL; w; w = strtok_r(NULL, " ", &save)) {
		append_text(k, line, " ");
		if (script_quote(&k->o->line[line].text, w) < 0)
			k->failed = 1;
	}
	k->failed |= !copy;
	free(copy);
}

/* Add a line. Returns its index. */
static int
program_on(struct builder *k, int host, int stage)
{
	struct lines *o = k->o;
	struct line *l;

	if (k->failed || mem_grow(&o->line, &o->cap, (size_t)o->n + 1, sizeof(*o->line)) < 0) {
		k->failed = 1;
		return 0;
	}
	l = &o->line[o->n];
	memset(l, 0, sizeof(*l));
	l->host = host;
	append_label(k, o->n, "%s", stage_programs[stage].name);
	append_text(k, o->n, " -m ");
	if (script_quote(&l->text, k->opt->model) < 0)
		k->failed = 1;
	return o->n++;
}

/* Add a line for a program that computes. */
static int
worker(struct builder *k, int host, int stage, int from, int to)
{
	const struct host *h = &k->c->hosts->h[host];
	int l = program_on(k, host, stage);

	if (to == from + 1)
		append_label(k, l, " -l %d", from);
	else if (to > from)
		append_label(k, l, " -l %d-%d", from, to - 1);
	if (h->gpu)
		append_text(k, l, " -d cuda:0");
	else if (k->opt->threads)
		append_text(k, l, " -t %d", h->cores);
	return l;
}

static int
host_of(const struct lines *o, int line)
{
	return line == DRIVER ? -1 : o->line[line].host;
}

static void
add_wire(struct builder *k, int from, int to, enum load load)
{
	struct lines *o = k->o;

	if (k->failed || mem_grow(&o->wire, &o->wire_cap, (size_t)o->nwires + 1, sizeof(*o->wire)) < 0) {
		k->failed = 1;
		return;
	}
	if (from != DRIVER)
		o->line[from].out[o->line[from].nout++] = o->nwires;
	if (to != DRIVER)
		o->line[to].in[o->line[to].nin++] = o->nwires;
	o->wire[o->nwires++] = (struct wire){.from = from, .to = to, .load = load};
}

/* Connect a line to the previous one. */
static void
append_program(struct builder *k, int line, enum load load)
{
	add_wire(k, k->last, line, load);
	k->last = line;
}

/* Divide the experts of a layer over the group. */
static void
spread_experts(struct builder *k, const struct group *g, int layer)
{
	int member[GROUP_MAX], n = 0, next = 0, sum;

	append_program(k, worker(k, g->host, STAGE_ATTN, layer, layer + 1), LOAD_FRAME);
	append_program(k, worker(k, g->host, STAGE_ROUTE, layer, layer + 1), LOAD_FRAME);
	for (int i = 0; i < g->n; i++) {
		int e = g->experts[i], shared = g->shared == i, l;

		if (e == 0 && !shared)
			continue;
		l = worker(k, g->host + i, STAGE_EXPERT, layer, layer + 1);
		if (e > 1)
			append_label(k, l, " -e %d-%d%s", next, next + e - 1, shared ? ",s" : "");
		else if (e == 1)
			append_label(k, l, " -e %d%s", next, shared ? ",s" : "");
		else
			append_label(k, l, " -e s");
		next += e;
		add_wire(k, k->last, l, LOAD_CHOSEN);
		member[n++] = l;
	}
	sum = program_on(k, g->host, STAGE_JOIN);
	for (int i = 0; i < n; i++)
		add_wire(k, member[i], sum, LOAD_PARTIAL);
	k->last = sum;
}

static void
add_group(struct builder *k, const struct group *g)
{
	const struct layer_size *l = k->c->s->layers;

	for (int i = g->from, to; i < g->to; i = to) {
		for (to = i; to < g->to && (g->n == 1 || !l[to].moe); to++)
			;
		if (to > i)
			append_program(k, worker(k, g->host, STAGE_BLOCK, i, to), LOAD_FRAME);
		else
			spread_experts(k, g, to++);
	}
}

/* Assign a port to each link between hosts, and terminate the commands. */
static void
assign_ports(struct builder *k)
{
	struct lines *o = k->o;
	int port = k->opt->port;

	for (int i = 0; i < o->nwires && !k->failed; i++)
		if (!k->opt->together && host_of(o, o->wire[i].from) != host_of(o, o->wire[i].to))
			o->wire[i].port = port++;
	for (int i = 0; i < o->n && !k->failed; i++)
		if (buf_addc(&o->line[i].text, 0) < 0)
			k->failed = 1;
		else
			o->line[i].text.n--;
	if (!k->failed && port > 65536) {
		fail(FAIL_USAGE, "--port %d: there are %d links between hosts, and ports end at 65535", k->opt->port, port - k->opt->port);
		k->failed = 1;
	}
}

int
lines_make(struct lines *o, const struct split *s, const struct cost *batched, const struct line_options *opt)
{
	struct builder k = {.o = o, .c = batched, .opt = opt};
	const struct demand *d = batched->d;
	int embed, head, sample, first = s->group[0].host, last = s->group[s->n - 1].host;

	*o = (struct lines){0};
	embed = k.last = program_on(&k, first, STAGE_EMBED);
	append_text(&k, embed, " -B %d", d->rows);
	if (d->batches > 1)
		append_text(&k, embed, " --batches %d", d->batches);
	add_wire(&k, DRIVER, embed, LOAD_PROMPT);
	for (int i = 0; i < s->n; i++)
		add_group(&k, &s->group[i]);
	head = worker(&k, last, STAGE_HEAD, 0, 0);
	append_program(&k, head, LOAD_FRAME);
	sample = program_on(&k, last, STAGE_SAMPLE);
	append_words(&k, sample, opt->sample);
	append_program(&k, sample, LOAD_LOGITS);
	add_wire(&k, sample, embed, LOAD_TOKENS);
	add_wire(&k, sample, DRIVER, LOAD_TOKENS);
	assign_ports(&k);
	return k.failed ? -1 : 0;
}

void
lines_free(struct lines *o)
{
	for (int i = 0; i < o->n; i++)
		buf_free(&o->line[i].text);
	free(o->line);
	free(o->wire);
	*o = (struct lines){0};
}

double
wire_bytes(const struct wire *w, const struct cost *c)
{
	switch (w->load) {
	case LOAD_FRAME:
		return c->frame;
	case LOAD_CHOSEN:
		return c->chosen;
	case LOAD_PARTIAL:
		return c->partial;
	case LOAD_LOGITS:
		return c->wanted * 4 * c->s->config.vocab_size;
	default:
		return c->rows * 4 + 256;
	}
}
