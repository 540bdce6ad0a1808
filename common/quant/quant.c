#include "quant/quant.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "base/mem.h"
#include "quant/folder.h"
#include "quant/kv_b.h"
#include "quant/quant_internal.h"
#include "weights/folder_file.h"
#include "weights/layout.h"
#include "weights/shard_file.h"

#define COPY_PIECE ((size_t)8 << 20)
#define NAME_MAX_BYTES 500

int
quant_format(struct quant *q, const char *name)
{
	static const struct { const char *name; enum dtype to; int gguf; } formats[] = {
		{"q8", Q8, 0}, {"q4", Q4, 0}, {"f32", F32, 0}, {"bf16", BF16, 0}, {"f16", F16, 0},
		{"fp8", F8_E4M3, 0}, {"gguf-q8_0", Q8_0, 1}, {"gguf-bf16", BF16, 1},
	};

	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
		if (strcmp(name, formats[i].name) == 0) {
			q->to = formats[i].to;
			q->gguf = formats[i].gguf;
			return 0;
		}
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

/* Whether it is a half of kv_b: with the first w becomes the whole, which is written in its place. */
static int
is_half(const struct quant *q, const struct tensor_entry *t, struct weight *w)
{
	if (!weight_named(w, &q->model->config, t->name))
		return 0;
	if (w->row->role == ROLE_K_B)
		return weight_find(w, &q->config, ROLE_KV_B, w->layer, -1);
	return w->row->role == ROLE_V_B;
}

/* Whether the matrix or vector w is written anew, as *to: it is converted, or a folder cannot have
 * it as it is stored in a GGUF file. */
static int
is_made(const struct quant *q, const struct tensor_entry *t, struct weight *w, enum dtype *to)
{
	*to = q->to;
	if (is_half(q, t, w)) {
		*to = q->experts ? F32 : q->to;
		return w->row->role == ROLE_KV_B;
	}
	if (is_chosen(q, t, w))
		return 1;
	*to = F32;
	return checkpoint_gguf(&q->model->weights) && weight_named(w, &q->model->config, t->name) &&
	    (t->zipped || t->turned || !(t->dtype == F32 || t->dtype == BF16 || t->dtype == F16));
}

/* Whether it is a scale of a matrix that is converted, or a tensor of GGUF files alone. */
static int
is_dropped(const struct quant *q, const struct tensor_entry *t)
{
	const struct tensor_entry *of;
	struct weight w;
	char name[NAME_MAX_BYTES];
	size_t n;

	if (checkpoint_gguf(&q->model->weights))
		return !weight_named(&w, &q->model->config, t->name) || is_half(q, t, &w);
	if (!layout_is_scale(t->name, &n) || n >= sizeof(name))
		return 0;
	memcpy(name, t->name, n);
	name[n] = 0;
	return checkpoint_has(&q->model->weights, name) &&
	    (of = checkpoint_entry(&q->model->weights, name)) && is_chosen(q, of, &w);
}

static int
plan_made(struct quant *q, const struct weight *w, enum dtype to)
{
	struct layout_part parts[LAYOUT_PARTS];
	struct layout was;
	int n = layout_parts(parts, to, (uint64_t)w->rows, (uint64_t)w->cols);

	if (w->row->role != ROLE_KV_B &&
	    layout_find(&was, &q->model->weights, w->name, (size_t)w->rows, (size_t)w->cols) < 0)
		return -1;
	for (int i = 0; i < n; i++)
		if (shard_file_add_part(q->shard, w->name, &parts[i]) < 0)
			return -1;
	return 0;
}

static int
plan_shard(struct quant *q, const struct shard *from)
{
	for (size_t i = 0; i < from->file.n; i++) {
		const struct tensor_entry *t = &from->file.tensors[i];
		struct weight w;
		enum dtype to;

		if (!is_listed(q, t, from))
			continue;
		q->before += t->end - t->begin;
		if (is_made(q, t, &w, &to) ? plan_made(q, &w, to) < 0 :
		    !is_dropped(q, t) && shard_file_add_copy(q->shard, t) < 0)
			return -1;
	}
	for (size_t i = 0; i < q->shard->n; i++)
		q->after += q->shard->list[i].bytes;
	return 0;
}

int
quant_check_signal(const struct quant *q)
{
	return q->stop && *q->stop ? fail(FAIL_SYSTEM, "stopped by a signal") : 0;
}

struct shard_name {
	char text[48];
};

struct target {
	struct quant *q;
	const struct shard_entry *entry;        /* of the matrix; those of its scales follow */
};

static int
store(void *arg, int i, uint64_t at, const void *p, size_t n)
{
	const struct target *to = arg;

	if (quant_check_signal(to->q) < 0)
		return -1;
	return to->q->out ? shard_file_write(to->q->shard, to->entry[i].at + at, p, n) : 0;
}

static double
relative(const struct loss *l)
{
	return l->square > 0 ? sqrt(l->error / l->square) : 0;
}

int
quant_convert(struct quant *q, const struct mat *w, enum dtype to, const char *name,
    convert_fn *store_rows, void *arg, struct loss *all)
{
	struct loss loss;

	if (convert(&loss, w, to, q->k, q->pool, store_rows, arg) < 0)
		return fail_status() == FAIL_DATA ? fail_in("tensor '%s'", name) : -1;
	q->matrices++;
	all->square += loss.square;
	all->error += loss.error;
	all->most = fmax(all->most, loss.most);
	if (q->report && fprintf(q->report, "%-9s %6d %6d %10.6f %10.3g  %s\n", dtype_name(w->dtype), w->rows, w->cols,
	    relative(&loss), loss.most, name) < 0)
		return fail(FAIL_SYSTEM, "cannot write the report:");
	return 0;
}

static int
make_vector(const struct weight *t, struct target *to)
{
	float *x = layout_vector(&to->q->model->weights, t->rows, t->name);
	int r = x ? store(to, 0, 0, x, (size_t)t->rows * sizeof(*x)) : -1;

	free(x);
	return r;
}

static int
make_kv_b(struct quant *q, const struct weight *t, enum dtype dtype, struct target *to,
    struct loss *all)
{
	struct kv_b b;
	struct mat w;
	float *x = kv_b_open(&b, q->model, t->layer) < 0 ? NULL :
	    kv_b_whole(&b, q->k, q->config.num_heads, &w);
	int r = x ? quant_convert(q, &w, dtype, t->name, store, to, all) : -1;

	free(x);
	return r;
}

static int
make_one(struct quant *q, const struct shard_entry *e, const struct weight *t, enum dtype dtype,
    struct loss *all)
{
	struct target to = {q, e};
	struct mat w;

	if (t->cols == 0)
		return make_vector(t, &to);
	if (t->row->role == ROLE_KV_B && q->model->config.kv_b_split)
		return make_kv_b(q, t, dtype, &to, all);
	return layout_mat(&q->model->weights, &w, t->rows, t->cols, t->name) < 0 ? -1 :
	    quant_convert(q, &w, dtype, t->name, store, &to, all);
}

static int
copy_bytes(struct quant *q, const struct shard_entry *e, const unsigned char *map)
{
	for (uint64_t at = 0; at < e->bytes; at += COPY_PIECE) {
		uint64_t left = e->bytes - at;

		if (quant_check_signal(q) < 0 || shard_file_write(q->shard, e->at + at,
		    map + e->from->begin + at, left < COPY_PIECE ? (size_t)left : COPY_PIECE) < 0)
			return -1;
	}
	return 0;
}

static int
fill_shard(struct quant *q, const struct shard *from, struct loss *all)
{
	const struct shard_file *s = q->shard;
	const struct shard_entry *e = s->list, *end = e + s->n;
	struct layout_part parts[LAYOUT_PARTS];
	struct weight w;
	enum dtype to;

	for (size_t i = 0; i < from->file.n && e < end; i++) {
		const struct tensor_entry *t = &from->file.tensors[i];

		if (e->from == t) {
			if (q->out && copy_bytes(q, e, from->file.map.p) < 0)
				return -1;
			e++;
		} else if (!e->from && is_listed(q, t, from) && is_made(q, t, &w, &to)) {
			if (make_one(q, e, &w, to, all) < 0)
				return -1;
			e += layout_parts(parts, to, (uint64_t)w.rows, (uint64_t)w.cols);
		}
	}
	return 0;
}

/* Remember where the new names are. */
static int
list_names(const struct quant *q, struct table *files, const char *file)
{
	for (size_t i = 0; i < q->shard->n; i++) {
		struct shard_entry *e = &q->shard->list[i];

		if (table_put(files, e->name, strlen(e->name), (void *)(uintptr_t)file) < 0)
			return -1;
		e->name = NULL;         /* now the table's */
	}
	return 0;
}

/* What the file that is made of it is called: in memory that lives until the index is written. */
static const char *
name_shard(const struct quant *q, const struct shard *from, struct shard_name *made)
{
	const struct checkpoint *w = &q->model->weights;

	if (!checkpoint_gguf(w))
		return strrchr(from->path, '/') + 1;
	if (w->nshards == 1)
		snprintf(made->text, sizeof(made->text), "model.safetensors");
	else
		snprintf(made->text, sizeof(made->text), "model-%05zu-of-%05zu.safetensors",
		    (size_t)(from - w->shards) + 1, w->nshards);
	return made->text;
}

static int
make_shard(struct quant *q, struct shard *from, const char *name, struct table *files,
    struct loss *all)
{
	struct shard_file s = {.fd = -1};
	int r = shard_open(from);

	q->shard = &s;
	if (r < 0 || plan_shard(q, from) < 0 || (q->out && shard_file_create(&s, q->out, name) < 0) ||
	    fill_shard(q, from, all) < 0 || list_names(q, files, name) < 0)
		r = -1;
	if (r < 0)
		shard_file_close(&s);   /* its message would hide the cause */
	else
		r = shard_file_close(&s);
	q->shard = NULL;
	if (!checkpoint_gguf(&q->model->weights))       /* its metadata are needed until the end */
		tensor_file_close(&from->file);
	return r;
}

static int
make_shards(struct quant *q, struct table *files, struct loss *all)
{
	struct checkpoint *w = &q->model->weights;
	struct shard_name *made = mem_new(w->nshards, sizeof(*made));
	int r = made ? 0 : -1;

	for (size_t i = 0; r == 0 && i < w->nshards; i++)
		r = make_shard(q, &w->shards[i], name_shard(q, &w->shards[i], &made[i]), files, all);
	if (r == 0 && q->out && folder_index(q, files) < 0)
		r = -1;
	free(made);
	return r;
}

static int
make_all(struct quant *q, struct table *files)
{
	struct loss all = {0};

	if (q->report)
		fprintf(q->report, "%-9s %6s %6s %10s %10s  %s\n", "was", "rows", "cols", "rel.error", "largest", "tensor");
	if ((q->gguf ? gguf_write(q, &all) : make_shards(q, files, &all)) < 0)
		return -1;
	if (q->matrices == 0)
		return fail(FAIL_USAGE, "'%s' has no matrix of the kind that was asked for", q->model->weights.dir);
	if (q->report && (fprintf(q->report, "%-23s %10.6f %10.3g  all %llu\n", "", relative(&all), all.most,
	    (unsigned long long)q->matrices) < 0 || fflush(q->report) != 0))
		return fail(FAIL_SYSTEM, "cannot write the report:");
	return q->out && !q->gguf && (folder_copy(q) < 0 || folder_config(q) < 0) ? -1 : 0;
}

int
quant_run(struct quant *q)
{
	struct table files = {0};
	int r;

	q->config = q->model->config;
	q->config.kv_b_split = 0;
	if (q->experts && q->model->config.quant)
		return fail(FAIL_USAGE, "'%s' is quantized already: take the original for experts alone", q->model->weights.dir);
	if (q->experts && q->gguf)
		return fail(FAIL_USAGE, "a GGUF has no experts alone: leave out --experts");
	if (q->out && !q->gguf && mkdir(q->out, 0777) < 0)
		return errno == EEXIST ?
		    fail(FAIL_USAGE, "'%s' exists: name a folder that does not", q->out) :
		    fail(FAIL_SYSTEM, "cannot create '%s':", q->out);
	r = make_all(q, &files);
	for (struct table_slot *s = NULL; (s = table_next(&files, s)); )
		free((void *)(uintptr_t)s->key);
	table_free(&files);
	if (r < 0 && q->out && !q->gguf)
		folder_remove(q->out);
	return r;
}
