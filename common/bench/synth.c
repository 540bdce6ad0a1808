#include "bench/synth.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/io.h"
#include "bench/blocks.h"
#include "bench/synth_gguf.h"

static const char config_name[] = "config.json";

/* The name of the file of weights. */
static const char *
weights_name(const struct synth *s)
{
	return s->type && weight_type_gguf(s->type) ? "model.gguf" : "model.safetensors";
}

static int
weights_path(const struct synth *s, char *to, size_t size)
{
	return io_path(to, size, s->dir, weights_name(s));
}

static int
write_file(const char *dir, const char *name, const struct buf *b)
{
	char path[4200];
	int fd, r;

	if (io_path(path, sizeof(path), dir, name) < 0)
		return -1;
	if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) < 0)
		return fail(FAIL_SYSTEM, "cannot make '%s':", path);
	r = io_write(fd, b->p, b->n);
	if (close(fd) < 0 && r == 0)
		r = fail(FAIL_SYSTEM, "cannot write:");
	return r < 0 ? fail_in("'%s'", path) : 0;
}

static int
make_folder(struct synth *s, const char *dir)
{
	const char *tmp = getenv("TMPDIR");
	size_t n = (size_t)snprintf(s->dir, sizeof(s->dir), dir ? "%s" : "%s/ds-bench.XXXXXX",
	    dir ? dir : tmp && *tmp ? tmp : "/tmp");

	if (n >= sizeof(s->dir) - 64)
		return fail(FAIL_USAGE, "'%.100s...' is too long a path", s->dir);
	s->temporary = !dir;
	if (dir ? mkdir(dir, 0777) < 0 : !mkdtemp(s->dir))
		return errno == EEXIST ?
		    fail(FAIL_USAGE, "'%s' exists: name a folder that does not", s->dir) :
		    fail(FAIL_SYSTEM, "cannot create the folder '%s':", s->dir);
	s->made = 1;
	return 0;
}

int
synth_open(struct synth *s, const char *shape, const struct weight_type *type, const char *layers, const char *dir)
{
	const char *usual;
	struct buf b = {0};
	int r;

	*s = (struct synth){.fd = -1, .type = type};
	r = shape_config(&b, shape, &s->type, &usual) < 0 || make_folder(s, dir) < 0 || write_file(s->dir, config_name, &b) < 0 ||
	    config_load(&s->config, s->dir) < 0 ? -1 : 0;
	buf_free(&b);
	if (r < 0 || layers_parse(&s->layers, layers ? layers : usual, s->config.num_layers) < 0)
		return -1;
	for (int i = 0; i < s->config.num_layers; i++)
		s->nlayers += s->layers.has[i];
	s->present = s->config.n_routed_experts;
	return 0;
}

int
synth_tensors(struct synth *s, int head, int embed)
{
	return shape_tensors(&s->list, &s->config, s->type, &s->layers, head, embed);
}

static int
is_present(const struct synth *s, const struct shape_tensor *t)
{
	return t->expert < s->present && !t->hole;
}

uint64_t
synth_bytes(const struct synth *s)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->list.n; i++)
		if (is_present(s, &s->list.t[i]))
			bytes += s->list.t[i].part.bytes;
	return bytes;
}

int
synth_fit(struct synth *s, uint64_t memory)
{
	int least = s->config.num_experts_per_tok;

	if (synth_bytes(s) <= memory)
		return 0;
	while (s->present > least && synth_bytes(s) > memory)
		s->present--;
	if (synth_bytes(s) > memory)
		return fail(FAIL_SYSTEM, "the shape needs at least %.1f GiB of memory, %.1f are free: choose fewer layers (-l), "
		    "smaller weights (--weights) or a --decode at less context", (double)synth_bytes(s) / 0x1p30, (double)memory / 0x1p30);
	return 0;
}

/* --- the file --- */

/* The header: length and JSON, padded so that the data begins at a multiple of 64. */
static int
make_header(const struct shape_list *l, struct buf *b)
{
	uint64_t n = 0;

	if (buf_add(b, &n, sizeof(n)) < 0 || buf_addc(b, '{') < 0)
		return -1;
	for (size_t i = 0; i < l->n; i++) {
		const struct shape_tensor *t = &l->t[i];
		char cols[24] = "";

		if (t->part.rank == 2)
			snprintf(cols, sizeof(cols), ",%" PRIu64, t->part.shape[1]);
		if (buf_addf(b, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%" PRIu64 "%s],\"data_offsets\":[%" PRIu64
		    ",%" PRIu64 "]}", i ? "," : "", t->name, t->part.dtype, t->part.shape[0], cols, t->begin,
		    t->begin + t->part.bytes) < 0)
			return -1;
	}
	if (buf_addc(b, '}') < 0)
		return -1;
	while (b->n % 64)
		if (buf_addc(b, ' ') < 0)
			return -1;
	n = b->n - sizeof(n);
	memcpy(b->p, &n, sizeof(n));
	return 0;
}

struct filling {
	const struct shape_tensor *t;
	unsigned char *to;
	uint64_t seed;
};

/* The finalizer of splitmix64: words by their number, so that threads need not agree on anything. */
static uint64_t
word_at(uint64_t n)
{
	n = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
	n = (n ^ n >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	n = (n ^ n >> 27) * UINT64_C(0x94d049bb133111eb);
	return n ^ n >> 31;
}

static void
fill(void *arg, size_t from, size_t to, int thread)
{
	const struct filling *j = arg;

	(void)thread;
	for (size_t i = from; i < to; i++) {
		uint64_t w = (word_at(j->seed + i) & j->t->mask) | j->t->set, left = j->t->part.bytes - 8 * i;

		memcpy(j->to + 8 * i, &w, left < 8 ? left : 8);
	}
}

/* Blocks: random bytes, then their scales. */
static void
fill_blocks(void *arg, size_t from, size_t to, int thread)
{
	const struct filling *j = arg;
	const struct shape_tensor *t = j->t;
	size_t n = dtype_row(t->dtype, dtype_cols(t->dtype));

	(void)thread;
	for (size_t i = from; i < to; i++) {
		for (size_t k = 0; k < n; k += 8) {
			uint64_t w = word_at(j->seed + i * 32 + k / 8);

			memcpy(j->to + i * n + k, &w, n - k < 8 ? n - k : 8);
		}
		blocks_scale(t->dtype, t->cols, j->to + i * n);
	}
}

static void
fill_tensor(const struct shape_tensor *t, struct filling *j, struct pool *pool)
{
	size_t block = t->cols && t->dtype > Q4 ? dtype_row(t->dtype, dtype_cols(t->dtype)) : 0;

	if (block)
		pool_run(pool, (size_t)t->part.bytes / block, 64, (double)block, fill_blocks, j);
	else
		pool_run(pool, (size_t)(t->part.bytes + 7) / 8, 512, 8, fill, j);
}

static void
fill_all(const struct synth *s, unsigned char *data, int sparse, struct pool *pool)
{
	for (size_t i = 0; i < s->list.n; i++) {
		const struct shape_tensor *t = &s->list.t[i];
		struct filling j = {t, data + t->begin, (uint64_t)i << 40};

		if (is_present(s, t) && !(sparse && t->part.rank == 2))
			fill_tensor(t, &j, pool);
	}
}

/* Header and weights into the empty file s->fd. */
static int
fill_file(struct synth *s, int sparse, struct pool *pool)
{
	struct buf b = {0};
	uint64_t size = 0;
	unsigned char *p = NULL;
	int r = weight_type_gguf(s->type) ? synth_gguf(&s->list, &s->config, &b) :
	    make_header(&s->list, &b);

	if (r == 0) {
		size = b.n + s->list.bytes;
		r = ftruncate(s->fd, (off_t)size) < 0 ? fail(FAIL_SYSTEM, "cannot make a file of %" PRIu64 " bytes:", size) : 0;
	}
	/* ask for the room: in a mapped file its lack would be a signal */
	if (r == 0 && !sparse && !s->temporary && (errno = posix_fallocate(s->fd, 0, (off_t)size)) != 0)
		r = fail(FAIL_SYSTEM, "no room for %" PRIu64 " bytes:", size);
	if (r == 0 && (p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0)) == MAP_FAILED)
		r = fail(FAIL_SYSTEM, "cannot map %" PRIu64 " bytes:", size);
	if (r == 0) {
		memcpy(p, b.p, b.n);
		fill_all(s, p + b.n, sparse, pool);
		if (munmap(p, size) < 0)
			r = fail(FAIL_SYSTEM, "cannot unmap the weights:");
	}
	buf_free(&b);
	return r;
}

int
synth_write(struct synth *s, int sparse, struct pool *pool)
{
	char path[4200];

	if (weights_path(s, path, sizeof(path)) < 0)
		return -1;
	if ((s->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) < 0)
		return fail(FAIL_SYSTEM, "cannot make '%s':", path);
	if (fill_file(s, sparse, pool) < 0) {
		unlink(path);
		return fail_in("'%s'", path);
	}
	return 0;
}

/* Once the model is open, nothing is read from the folder.  It is removed early, so that no signal
 * leaves it. */
static void
drop_folder(struct synth *s)
{
	char path[4200];

	if (!s->made || !s->temporary)
		return;
	if (weights_path(s, path, sizeof(path)) == 0)
		unlink(path);
	if (io_path(path, sizeof(path), s->dir, config_name) == 0)
		unlink(path);
	rmdir(s->dir);
	s->made = 0;
}

int
synth_memory(struct synth *s, struct model *m, struct pool *pool)
{
	char path[4200], target[64];
	int r;

	if (weights_path(s, path, sizeof(path)) < 0)
		return -1;
	if ((s->fd = memfd_create(weights_name(s), MFD_CLOEXEC)) < 0)
		return fail(FAIL_SYSTEM, "cannot make a file in memory:");
	if (fill_file(s, 0, pool) < 0)
		return -1;
	snprintf(target, sizeof(target), "/proc/%ld/fd/%d", (long)getpid(), s->fd);
	if (symlink(target, path) < 0)
		return fail(FAIL_SYSTEM, "cannot make '%s':", path);
	r = model_open(m, weight_type_gguf(s->type) ? path : s->dir);
	drop_folder(s);
	return r;
}

void
synth_close(struct synth *s)
{
	if (s->fd > 0)
		close(s->fd);
	drop_folder(s);
	shape_free(&s->list);
	*s = (struct synth){.fd = -1};
}
