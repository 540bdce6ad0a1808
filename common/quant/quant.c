#include "quant/quant.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/mem.h"
#include "quant/convert.h"
#include "quant/folder.h"
#include "quant/shard.h"
#include "weights/layout.h"

#define COPY_PIECE ((size_t)8 << 20)
#define NAME_MAX_BYTES 500

int
quant_format(const char *name)
{
	static const struct { const char *name; enum dtype to; } formats[] = {
		{"q8", Q8}, {"q4", Q4}, {"f32", F32}, {"bf16", BF16}, {"f16", F16}, {"fp8", F8_E4M3},
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(name, formats[i].name) == 0)
			return formats[i].to;
	return -1;
}

/* Whether the index has the tensor in this file, too. */
static int
is_listed(const struct quant *q, const struct tensor_entry *t, const struct shard *from)
{
	return table_get(&q->model->weights.files, t->name, strlen(t->name)) == from;
}

/* Whether the matrix is converted: w is it. */
static int
is_chosen(const struct quant *q, const struct tensor_entry *t, struct weight *w)
{
	if (t->rank != 2 || !weight_named(w, &q->model->config, t->name))
		return 0;
	switch (w->row->kind) {
	case WEIGHT_LINEAR:
		return !q->experts;
	case WEIGHT_SHARED:
	case WEIGHT_EXPERT:
		return 1;
	case WEIGHT_HEAD:
		return q->head;
	default:
		return 0;
	}
}

/* Whether it is a scale of a matrix that is converted. */
static int
is_dropped(const struct quant *q, const struct tensor_entry *t)
{
	const struct tensor_entry *of;
	struct weight w;
	char name[NAME_MAX_BYTES];
	size_t n;

	if (!layout_is_scale(t->name, &n) || n >= sizeof(name))
		return 0;
	memcpy(name, t->name, n);
	name[n] = 0;
	return checkpoint_has(&q->model->weights, name) &&
	    (of = checkpoint_entry(&q->model->weights, name)) && is_chosen(q, of, &w);
}

static int
plan_made(struct quant *q, const struct tensor_entry *t, const struct weight *w)
{
	struct layout_part parts[LAYOUT_PARTS];
	struct layout was;
	int n = layout_parts(parts, q->to, (uint64_t)w->rows, (uint64_t)w->cols);

	if (layout_find(&was, &q->model->weights, w->name, (size_t)w->rows, (size_t)w->cols) < 0)
		return -1;
	for (int i = 0; i < n; i++)
		if (shard_add_part(q->shard, t, &parts[i]) < 0)
			return -1;
	return 0;
}

static int
plan_shard(struct quant *q, const struct shard *from)
{
	for (size_t i = 0; i < from->file.n; i++) {
		const struct tensor_entry *t = &from->file.tensors[i];
		struct weight w;

		if (!is_listed(q, t, from))
			continue;
		q->before += t->end - t->begin;
		if (is_chosen(q, t, &w) ? plan_made(q, t, &w) < 0 :
		    !is_dropped(q, t) && shard_add_copy(q->shard, t) < 0)
			return -1;
	}
	for (size_t i = 0; i < q->shard->n; i++)
		q->after += q->shard->list[i].bytes;
	return 0;
}

static int
check_signal(const struct quant *q)
{
	return q->stop && *q->stop ? fail(FAIL_SYSTEM, "stopped by a signal") : 0;
}

struct target {
	struct quant *q;
	const struct entry *entry;      /* of the matrix; those of its scales follow */
};

static int
store(void *arg, int i, uint64_t at, const void *p, size_t n)
{
	const struct target *to = arg;

	if (check_signal(to->q) < 0)
		return -1;
	return to->q->out ? shard_write(to->q->shard, to->entry[i].at + at, p, n) : 0;
}

static double
relative(const struct loss *l)
{
	return l->square > 0 ? sqrt(l->error / l->square) : 0;
}

static int
make_one(struct quant *q, const struct entry *e, const struct weight *t, struct loss *all)
{
	struct target to = {q, e};
	struct loss loss;
	struct mat w;

	if (layout_mat(&q->model->weights, &w, t->rows, t->cols, t->name) < 0)
		return -1;
	if (convert(&loss, &w, q->to, q->k, q->pool, store, &to) < 0)
		return fail_status() == FAIL_DATA ? fail_in("tensor '%s'", t->name) : -1;
	q->matrices++;
	all->square += loss.square;
	all->error += loss.error;
	all->most = fmax(all->most, loss.most);
	if (q->report && fprintf(q->report, "%-9s %6d %6d %10.6f %10.3g  %s\n", dtype_name(w.dtype), w.rows, w.cols,
	    relative(&loss), loss.most, t->name) < 0)
		return fail(FAIL_SYSTEM, "cannot write the report:");
	return 0;
}

static int
copy_bytes(struct quant *q, const struct entry *e, const unsigned char *map)
{
	for (uint64_t at = 0; at < e->bytes; at += COPY_PIECE) {
		uint64_t left = e->bytes - at;

		if (check_signal(q) < 0 || shard_write(q->shard, e->at + at, map + e->from->begin + at,
		    left < COPY_PIECE ? (size_t)left : COPY_PIECE) < 0)
			return -1;
	}
	return 0;
}

static int
fill_shard(struct quant *q, const struct shard *from, struct loss *all)
{
	const struct quant_shard *s = q->shard;
	const struct entry *e = s->list, *end = e + s->n;
	struct layout_part parts[LAYOUT_PARTS];
	struct weight w;

	for (size_t i = 0; i < from->file.n && e < end; i++) {
		const struct tensor_entry *t = &from->file.tensors[i];

		if (e->from == t) {
			if (q->out && copy_bytes(q, e, from->file.map.p) < 0)
				return -1;
			e++;
		} else if (!e->from && is_listed(q, t, from) && is_chosen(q, t, &w)) {
			if (make_one(q, e, &w, all) < 0)
				return -1;
			e += layout_parts(parts, q->to, (uint64_t)w.rows, (uint64_t)w.cols);
		}
	}
	return 0;
}

/* Remember where the new names are. */
static int
list_names(const struct quant *q, struct table *files, const char *file)
{
	for (size_t i = 0; i < q->shard->n; i++) {
		struct entry *e = &q->shard->list[i];

		if (table_put(files, e->name, strlen(e->name), (void *)(uintptr_t)file) < 0)
			return -1;
		e->name = NULL;         /* now the table's */
	}
	return 0;
}

static int
make_shard(struct quant *q, struct shard *from, struct table *files, struct loss *all)
{
	struct quant_shard s = {.fd = -1};
	const char *name = strrchr(from->path, '/') + 1;
	int r = shard_open(from);

	q->shard = &s;
	if (r < 0 || plan_shard(q, from) < 0 || (q->out && shard_create(&s, q->out, name) < 0) ||
	    fill_shard(q, from, all) < 0 || list_names(q, files, name) < 0)
		r = -1;
	if (r < 0)
		shard_close(&s);        /* its message would hide the cause */
	else
		r = shard_close(&s);
	q->shard = NULL;
	tensor_file_close(&from->file);
	return r;
}

static int
make_all(struct quant *q, struct table *files)
{
	struct loss all = {0};

	if (q->report)
		fprintf(q->report, "%-9s %6s %6s %10s %10s  %s\n", "was", "rows", "cols", "rel.error", "largest", "tensor");
	for (size_t i = 0; i < q->model->weights.nshards; i++)
		if (make_shard(q, &q->model->weights.shards[i], files, &all) < 0)
			return -1;
	if (q->matrices == 0)
		return fail(FAIL_USAGE, "'%s' has no matrix of the kind that was asked for", q->model->weights.dir);
	if (q->report && (fprintf(q->report, "%-23s %10.6f %10.3g  all %llu\n", "", relative(&all), all.most,
	    (unsigned long long)q->matrices) < 0 || fflush(q->report) != 0))
		return fail(FAIL_SYSTEM, "cannot write the report:");
	return q->out && (folder_copy(q) < 0 || folder_index(q, files) < 0 || folder_config(q) < 0) ? -1 : 0;
}

int
quant_run(struct quant *q)
{
	struct table files = {0};
	int r;

	if (q->experts && q->model->config.quant)
		return fail(FAIL_USAGE, "'%s' is quantized already: take the original for experts alone", q->model->weights.dir);
	if (q->out && mkdir(q->out, 0777) < 0)
		return errno == EEXIST ?
		    fail(FAIL_USAGE, "'%s' exists: name a folder that does not", q->out) :
		    fail(FAIL_SYSTEM, "cannot create '%s':", q->out);
	r = make_all(q, &files);
	for (struct table_slot *s = NULL; (s = table_next(&files, s)); )
		free((void *)(uintptr_t)s->key);
	table_free(&files);
	if (r < 0 && q->out)
		folder_remove(q->out);
	return r;
}
