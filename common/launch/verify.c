#include "launch/verify.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "link/link.h"
#include "launch/script.h"

/* Logits of sequence 0, as computed by one variant. */
struct logits {
	float *p;                       /* [rows][V] */
	size_t rows, cap;
	int V;
};

enum kind { FUSED, BLOCKS, STAGES, CHAIN, JOINED };

/* A variant of the pipeline; fields left 0 are as in the first variant. */
struct way {
	const char *what, *name;        /* "threads", "2" */
	const char *before, *others;    /* environment; additional prompts */
	enum kind kind;
	int n;                          /* threads, or processes for a layer's experts */
	int batch;                      /* 0: all rows */
};

struct maker {
	struct verify *v;
	struct logits first;
	char dir[PATH_MAX - 32];        /* folder of FIFOs */
	struct buf line, layers;
};

/* --- shell lines --- */

static int
make_line(struct maker *m, const struct way *w, const char *layers)
{
	struct buf *b = &m->line;

	b->n = 0;
	if (m->v->programs && (buf_addf(b, "PATH=") < 0 || script_quote(b, m->v->programs) < 0 || buf_addf(b, ":$PATH; ") < 0))
		return -1;
	if (w->kind == JOINED && (buf_addf(b, "D=") < 0 || script_quote(b, m->dir) < 0 || buf_addf(b, "; ") < 0))
		return -1;
	if (buf_addf(b, "export DS_MODEL=") < 0 || script_quote(b, m->v->model->weights.dir) < 0 || buf_addf(b, "; ") < 0)
		return -1;
	if (m->v->precision && buf_addf(b, "export DS_PRECISION=%s; ", m->v->precision) < 0)
		return -1;
	if (m->v->cache_type && buf_addf(b, "export DS_CACHE_TYPE=%s; ", m->v->cache_type) < 0)
		return -1;
	if (w->before && buf_addf(b, "export %s; ", w->before) < 0)
		return -1;
	if (buf_addf(b, "ds-tokenize -a -- ") < 0 || script_quote(b, m->v->text) < 0)
		return -1;
	if (buf_addf(b, "%s | ds-embed -B %d | %s | ds-head -t %d", w->others ? w->others : "",
	    w->batch ? w->batch : 4096, layers, w->kind == FUSED ? w->n : 1) < 0)
		return -1;
	return buf_addc(b, 0);
}

/* Write the experts of part i of n in the syntax of -e. */
static void
expert_range(const struct maker *m, int i, int n, char *to, size_t size)
{
	int E = m->v->model->config.n_routed_experts;

	snprintf(to, size, "%d-%d%s", E * i / n, E * (i + 1) / n - 1, i == n - 1 ? ",s" : "");
}

/* Append one layer with its experts in parallel, connected by FIFOs. Background commands have no
 * standard input in sh, so the router's input is descriptor 3. */
static int
add_joined(struct maker *m, int layer, int n)
{
	struct buf *b = &m->layers;
	char set[32];
	int r = buf_addf(b, " | { ds-route -t 1 -l %d", layer);

	for (int i = 0; i < n && r == 0; i++)
		r = buf_addf(b, " -o \"$D/%d.%d\"", layer, i);
	if (r == 0)
		r = buf_addf(b, " <&3 & ");
	for (int i = 0; i < n && r == 0; i++) {
		expert_range(m, i, n, set, sizeof(set));
		r = buf_addf(b, "ds-expert -t 1 -l %d -e %s -i \"$D/%d.%d\" -o \"$D/%d.%d.out\" & ", layer, set,
		    layer, i, layer, i);
	}
	if (r == 0)
		r = buf_addf(b, "ds-join -l %d", layer);
	for (int i = 0; i < n && r == 0; i++)
		r = buf_addf(b, " -i \"$D/%d.%d.out\"", layer, i);
	return r < 0 ? -1 : buf_addf(b, "; } 3<&0");
}

static int
add_layer(struct maker *m, enum kind kind, int layer, int n)
{
	struct buf *b = &m->layers;
	char set[32];

	if (layer > 0 && buf_addf(b, " | ") < 0)
		return -1;
	if (kind == BLOCKS)
		return buf_addf(b, "ds-block -t 1 -l %d", layer);
	if (buf_addf(b, "ds-attn -t 1 -l %d", layer) < 0)
		return -1;
	if (kind == JOINED)
		return add_joined(m, layer, n);
	if (buf_addf(b, " | ds-route -t 1 -l %d", layer) < 0)
		return -1;
	if (kind == STAGES)
		return buf_addf(b, " | ds-expert -t 1 -l %d", layer);
	for (int i = 0; i < n; i++) {
		expert_range(m, i, n, set, sizeof(set));
		if (buf_addf(b, " | ds-expert -t 1 -l %d -e %s", layer, set) < 0)
			return -1;
	}
	return 0;
}

/* The shell line from the layers' input to their output. n: threads, or processes for a layer's
 * experts. NULL on failure. */
static const char *
make_layers(struct maker *m, enum kind kind, int n)
{
	m->layers.n = 0;
	if (kind == FUSED && buf_addf(&m->layers, "ds-block -t %d", n) < 0)
		return NULL;
	for (int i = 0; i < m->v->model->config.num_layers && kind != FUSED; i++)
		if (add_layer(m, kind, i, n) < 0)
			return NULL;
	return buf_addc(&m->layers, 0) < 0 ? NULL : (const char *)m->layers.p;
}

/* --- running and comparing --- */

static int
add_rows(struct logits *g, struct frame *f, int V)
{
	struct tensor *row = frame_tensor(f, "row"), *t;
	uint32_t at = 0;

	if (!row || row->dtype != I32 || row->rank != 1)
		return fail(FAIL_DATA, "a frame after ds-head has no tensor 'row'");
	if (!(t = frame_require(f, "logits", F32, row->shape[0], (uint64_t)V)))
		return -1;
	for (int i = 0; i < f->nspans; at += f->spans[i++].n)
		for (uint64_t k = 0; k < row->shape[0] && f->spans[i].seq == 0; k++) {
			uint32_t r = (uint32_t)((int32_t *)row->data)[k];

			if (r < at || r >= at + f->spans[i].n)
				continue;
			if (mem_grow(&g->p, &g->cap, (g->rows + 1) * (size_t)V, sizeof(float)) < 0)
				return -1;
			memcpy(g->p + g->rows++ * (size_t)V, (float *)t->data + k * (uint64_t)V, (size_t)V * sizeof(float));
		}
	return 0;
}

/* Run the shell line and collect its logits. */
static int
collect(struct maker *m, const struct way *w, struct logits *g)
{
	FILE *p;
	struct link in;
	struct frame f;
	char name[32];
	int r;

	p = popen((const char *)m->line.p, "r");
	if (!p)
		return fail(FAIL_SYSTEM, "cannot start a shell:");
	snprintf(name, sizeof(name), "/dev/fd/%d", fileno(p));
	frame_init(&f);
	r = link_open(&in, name, LINK_IN);
	while (r == 0 && (r = link_receive(&in, &f)) > 0)
		r = f.op == OP_ERROR || f.op == OP_FAILED ? fail(FAIL_SYSTEM, "upstream: %s", f.text) :
		    f.op == OP_NONE ? add_rows(g, &f, m->v->model->config.vocab_size) : 0;
	frame_free(&f);
	(void)link_close(&in);
	pclose(p);
	return r < 0 ? fail_in("%s: %s", w->what, w->name) : 0;
}

/* Describe the first difference between two variants, or "" if there is none. */
static void
compare(const struct logits *a, const struct logits *b, int V, char *to, size_t size)
{
	size_t n = a->rows < b->rows ? a->rows : b->rows;

	*to = 0;
	for (size_t i = 0; i < n * (size_t)V; i++)
		if (memcmp(&a->p[i], &b->p[i], sizeof(float)) != 0) {
			snprintf(to, size, "position %zu, logit %zu: %.9g, not %.9g", i / (size_t)V, i % (size_t)V, (double)b->p[i], (double)a->p[i]);
			return;
		}
	if (a->rows != b->rows)
		snprintf(to, size, "%zu rows, not %zu", b->rows, a->rows);
}

static int
try_way(struct maker *m, const struct way *w)
{
	struct verify *v = m->v;
	struct logits g = {0};
	char where[128];
	const char *layers = make_layers(m, w->kind, w->n);
	int V = v->model->config.vocab_size, r;

	if (!layers || make_line(m, w, layers) < 0)
		return -1;
	if (v->verbose)
		fprintf(v->to, "# %s\n", (const char *)m->line.p);
	fflush(v->to);
	r = collect(m, w, v->ways == 0 ? &m->first : &g);
	if (r == 0 && v->ways == 0 && m->first.rows == 0)
		r = fail(FAIL_DATA, "the text has no tokens: there is nothing to compare");
	if (r == 0) {
		compare(&m->first, v->ways == 0 ? &m->first : &g, V, where, sizeof(where));
		fprintf(v->to, "%-8s  %-28s  %6zu  %s%s%s\n", w->what, w->name, (v->ways == 0 ? &m->first : &g)->rows,
		    where[0] ? "DIFFERS" : v->ways == 0 ? "first" : "same", where[0] ? ": " : "", where);
		v->failed += where[0] != 0;
		v->ways++;
	}
	free(g.p);
	return r;
}

/* --- the variants --- */

static int
try_cut(struct maker *m, const char *what, const char *name, enum kind kind, int n)
{
	struct way w = {.what = what, .name = name, .kind = kind, .n = n};

	return try_way(m, &w);
}

static int
try_cuts(struct maker *m)
{
	int E = m->v->model->config.n_routed_experts;

	if (try_cut(m, "cut", "one process for all layers", FUSED, 1) < 0 ||
	    try_cut(m, "cut", "one for each layer", BLOCKS, 1) < 0 ||
	    try_cut(m, "cut", "one for each stage and layer", STAGES, 1) < 0)
		return -1;
	if (E < 4) {
		fprintf(m->v->to, "%-8s  %-28s  %6s  not in this model\n", "experts",
		    "in 2 or 4 processes", "-");
		return 0;
	}
	return try_cut(m, "experts", "2 in a chain", CHAIN, 2) < 0 || try_cut(m, "experts", "4 in a chain", CHAIN, 4) < 0 ||
	    try_cut(m, "experts", "2 side by side", JOINED, 2) < 0 || try_cut(m, "experts", "4 side by side", JOINED, 4) < 0 ? -1 : 0;
}

static int
try_batches(struct maker *m)
{
	static const int sizes[] = {1, 7, 64};
	struct way w = {.what = "batch", .name = "among other prompts", .kind = FUSED, .n = 1, .others = " 'The first other one' 2 'and a third'"};
	char name[32];

	for (int i = 0; i < 3; i++) {
		struct way c = {.what = "chunks", .name = name, .kind = FUSED, .n = 1, .batch = sizes[i]};

		snprintf(name, sizeof(name), "of at most %d row%s", sizes[i], sizes[i] > 1 ? "s" : "");
		if (try_way(m, &c) < 0)
			return -1;
	}
	return try_way(m, &w);
}

static int
try_machine(struct maker *m)
{
	char name[32], cap[32];
	const char *set;

	for (int t = 2; t <= m->v->threads; t = t < m->v->threads && t * 2 > m->v->threads ? m->v->threads : t * 2) {
		snprintf(name, sizeof(name), "%d", t);
		if (try_cut(m, "threads", name, FUSED, t) < 0)
			return -1;
	}
	for (int i = 0; (set = kernels_set(i)); i++) {
		struct way w = {.what = "kernels", .name = set, .kind = FUSED, .n = 1, .before = cap};

		snprintf(cap, sizeof(cap), "DS_KERNELS=%s", set);
		if (!kernels_named(set))
			fprintf(m->v->to, "%-8s  %-28s  %6s  not on this machine\n", w.what, w.name, "-");
		else if (try_way(m, &w) < 0)
			return -1;
	}
	return 0;
}

/* Make a folder with a FIFO for each stream between parallel processes. */
static int
make_fifos(struct maker *m)
{
	const char *tmp = getenv("TMPDIR");
	char path[PATH_MAX];

	if (!tmp || !*tmp)
		tmp = "/tmp";
	if (io_path(m->dir, sizeof(m->dir), tmp, "ds-verify.XXXXXX") < 0)
		return -1;
	if (!mkdtemp(m->dir)) {
		m->dir[0] = 0;
		return fail(FAIL_SYSTEM, "cannot create a folder in '%s':", tmp);
	}
	for (int i = 0; i < m->v->model->config.num_layers; i++)
		for (int k = 0; k < 8; k++) {
			snprintf(path, sizeof(path), "%s/%d.%d%s", m->dir, i, k / 2, k % 2 ? ".out" : "");
			if (mkfifo(path, 0600) < 0)
				return fail(FAIL_SYSTEM, "cannot make a FIFO '%s':", path);
		}
	return 0;
}

static void
remove_fifos(const struct maker *m)
{
	char path[PATH_MAX];

	for (int i = 0; i < m->v->model->config.num_layers; i++)
		for (int k = 0; k < 8; k++) {
			snprintf(path, sizeof(path), "%s/%d.%d%s", m->dir, i, k / 2, k % 2 ? ".out" : "");
			unlink(path);
		}
	rmdir(m->dir);
}

int
verify_run(struct verify *v)
{
	struct maker m = {.v = v};
	int r = make_fifos(&m);

	fprintf(v->to, "%-8s  %-28s  %6s  logits\n", "what", "way", "rows");
	if (r == 0)
		r = try_cuts(&m) < 0 || try_batches(&m) < 0 || try_machine(&m) < 0 ? -1 : 0;
	if (m.dir[0])
		remove_fifos(&m);
	free(m.first.p);
	buf_free(&m.line);
	buf_free(&m.layers);
	return r;
}
