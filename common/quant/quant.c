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

#define COPY_PIECE ((size_t)8 << 20)
#define NAME_MAX_BYTES 500

/* Names that a quantized matrix brings besides its own. */
static const char *const suffixes[] = {"_scale_inv", "_scale", "_scale_2"};

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

/* The name without ".weight", if it has that: 1. */
static int
stem(char to[NAME_MAX_BYTES], const char *name)
{
	size_t n = strlen(name);

	if (n < 7 || n >= NAME_MAX_BYTES || strcmp(name + n - 7, ".weight") != 0)
		return 0;
	memcpy(to, name, n - 7);
	to[n - 7] = 0;
	return 1;
}

int
quant_cols(const struct config *c, const char *name)
{
	const struct { const char *last; int cols; } linear[] = {
		{"gate_proj", c->hidden_size}, {"up_proj", c->hidden_size}, {"lm_head", c->hidden_size},
		{"down_proj", strstr(name, ".mlp.experts.") ? c->moe_intermediate_size :
		    strstr(name, ".shared_experts.") ? c->n_shared_experts * c->moe_intermediate_size : c->intermediate_size},
		{"q_proj", c->hidden_size}, {"q_a_proj", c->hidden_size}, {"q_b_proj", c->q_lora_rank},
		{"kv_a_proj_with_mqa", c->hidden_size}, {"kv_b_proj", c->kv_lora_rank},
		{"o_proj", c->num_heads * c->v_head_dim}, {"eh_proj", 2 * c->hidden_size},
	};
	char s[NAME_MAX_BYTES];
	const char *dot;

	if (!stem(s, name))
		return 0;
	dot = strrchr(s, '.');
	for (size_t i = 0; i < sizeof(linear) / sizeof(linear[0]); i++)
		if (strcmp(dot ? dot + 1 : s, linear[i].last) == 0)
			return linear[i].cols;
	return 0;
}

/* Whether the index, too, has the tensor in this file. */
static int
is_listed(const struct quant *q, const struct safetensor *t, const struct shard *from)
{
	return table_get(&q->model->files, t->name, strlen(t->name)) == from;
}

/* Whether the matrix is to be made anew. */
static int
is_chosen(const struct quant *q, const struct safetensor *t)
{
	if (t->rank != 2 || quant_cols(&q->model->config, t->name) == 0)
		return 0;
	if (strcmp(t->name, "lm_head.weight") == 0)
		return q->head;
	return !q->experts || strstr(t->name, ".mlp.experts.") || strstr(t->name, ".mlp.shared_experts.");
}

/* Whether it goes with a matrix that is made anew: a scale of before. */
static int
is_dropped(const struct quant *q, const struct safetensor *t)
{
	const struct safetensor *of;
	char name[NAME_MAX_BYTES];
	size_t n = strlen(t->name);

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		size_t m = strlen(suffixes[i]);

		if (n <= m || n - m >= sizeof(name) || strcmp(t->name + n - m, suffixes[i]) != 0)
			continue;
		memcpy(name, t->name, n - m);
		name[n - m] = 0;
		if (model_has(q->model, name) && (of = model_entry(q->model, name)) && is_chosen(q, of))
			return 1;
	}
	return 0;
}

/* The matrix as it is. */
static int
open_mat(const struct quant *q, struct mat *w, const struct safetensor *t)
{
	uint64_t rows = t->shape[0], cols = t->dtype == U8 ? (uint64_t)quant_cols(&q->model->config, t->name) : t->shape[1];
	char name[NAME_MAX_BYTES];

	if (rows == 0 || cols == 0 || rows > 1 << 30 || cols > 1 << 24 || !stem(name, t->name))
		return fail(FAIL_DATA, "tensor '%s' is no matrix that can be converted", t->name);
	return model_mat(q->model, w, (int)rows, (int)cols, "%s", name);
}

static int
plan_made(struct quant *q, const struct safetensor *t)
{
	struct quant_shard *s = q->shard;
	struct entry *e;
	struct mat w;
	size_t rows, cols;

	if (open_mat(q, &w, t) < 0 || !(e = shard_add(s, t, "")))
		return -1;
	rows = (size_t)w.rows;
	cols = (size_t)w.cols;
	e->from = NULL;
	e->dtype = q->to == Q8 ? "I8" : q->to == Q4 ? "U8" : dtype_name(q->to);
	e->shape[1] = q->to == Q4 ? dtype_row(Q4, w.cols) : cols;
	e->bytes = rows * dtype_row(q->to, w.cols);
	if (q->to <= F16)
		return 0;
	if (!(e = shard_add(s, t, q->to == F8_E4M3 ? "_scale_inv" : "_scale")))
		return -1;
	e->from = NULL;
	if (q->to == F8_E4M3) {
		e->dtype = "F32";
		e->shape[0] = (rows + 127) / 128;
		e->shape[1] = (cols + 127) / 128;
		e->bytes = 4 * e->shape[0] * e->shape[1];
		return 0;
	}
	e->dtype = "F8_E4M3";
	e->shape[1] = (cols + QUANT_GROUP - 1) / QUANT_GROUP;
	e->bytes = rows * e->shape[1];
	if (!(e = shard_add(s, t, "_scale_2")))
		return -1;
	e->from = NULL;
	e->dtype = "F32";
	e->rank = 1;
	e->shape[0] = 1;
	e->bytes = 4;
	return 0;
}

static int
plan_shard(struct quant *q, const struct shard *from)
{
	for (size_t i = 0; i < from->file.n; i++) {
		const struct safetensor *t = &from->file.tensors[i];

		if (!is_listed(q, t, from))
			continue;
		q->before += t->end - t->begin;
		if (is_chosen(q, t) ? plan_made(q, t) < 0 : !is_dropped(q, t) && !shard_add(q->shard, t, ""))
			return -1;
	}
	for (size_t i = 0; i < q->shard->n; i++)
		q->after += q->shard->list[i].bytes;
	return 0;
}

static int
go_on(const struct quant *q)
{
	return q->stop && *q->stop ? fail(FAIL_SYSTEM, "stopped by a signal") : 0;
}

struct target {
	struct quant *q;
	const struct entry *entry;      /* of the data; those of its scales are behind it */
};

static int
put(void *arg, enum part part, uint64_t at, const void *p, size_t n)
{
	const struct target *to = arg;

	if (go_on(to->q) < 0)
		return -1;
	return to->q->out ? shard_write(to->q->shard, to->entry[part].at + at, p, n) : 0;
}

static double
relative(const struct loss *l)
{
	return l->square > 0 ? sqrt(l->error / l->square) : 0;
}

static int
make_one(struct quant *q, const struct entry *e, const struct safetensor *t, struct loss *all)
{
	struct target to = {q, e};
	struct loss loss;
	struct mat w;

	if (open_mat(q, &w, t) < 0)
		return -1;
	if (convert(&loss, &w, q->to, q->k, q->pool, put, &to) < 0)
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

		if (go_on(q) < 0 || shard_write(q->shard, e->at + at, map + e->from->begin + at,
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

	for (size_t i = 0; i < from->file.n && e < end; i++) {
		const struct safetensor *t = &from->file.tensors[i];

		if (e->from == t) {
			if (q->out && copy_bytes(q, e, from->file.map.p) < 0)
				return -1;
			e++;
		} else if (!e->from && is_listed(q, t, from) && is_chosen(q, t)) {
			if (make_one(q, e, t, all) < 0)
				return -1;
			e += q->to <= F16 ? 1 : q->to == F8_E4M3 ? 2 : 3;
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
	int r = from->file.map.p ? 0 : safetensors_open(&from->file, from->path);

	q->shard = &s;
	if (r < 0 || plan_shard(q, from) < 0 || (q->out && shard_create(&s, q->out, name) < 0) ||
	    fill_shard(q, from, all) < 0 || list_names(q, files, name) < 0)
		r = -1;
	if (r < 0)
		shard_close(&s);        /* its message would hide the cause */
	else
		r = shard_close(&s);
	q->shard = NULL;
	safetensors_close(&from->file);
	return r;
}

static int
make_all(struct quant *q, struct table *files)
{
	struct loss all = {0};

	if (q->report)
		fprintf(q->report, "%-9s %6s %6s %10s %10s  %s\n", "was", "rows", "cols", "rel.error", "largest", "tensor");
	for (size_t i = 0; i < q->model->nshards; i++)
		if (make_shard(q, &q->model->shards[i], files, &all) < 0)
			return -1;
	if (q->matrices == 0)
		return fail(FAIL_USAGE, "'%s' has no matrix of the kind that was asked for", q->model->dir);
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
		return fail(FAIL_USAGE, "'%s' is quantized already: take the original for experts alone", q->model->dir);
	if (q->out && mkdir(q->out, 0777) < 0)
		return errno == EEXIST ? fail(FAIL_USAGE, "'%s' is there already: name a folder that is not", q->out) :
		    fail(FAIL_SYSTEM, "cannot create '%s':", q->out);
	r = make_all(q, &files);
	for (struct table_slot *s = NULL; (s = table_next(&files, s)); )
		free((void *)(uintptr_t)s->key);
	table_free(&files);
	if (r < 0 && q->out)
		folder_remove(q->out);
	return r;
}
