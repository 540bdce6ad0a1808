/*
 * checkgpu_behind: the loop of a stage on the GPU, which writes frames while the next is computed, and what is left of
 * a frame when a stage fails, in TAP.
 *
 * The stage adds h to itself, so the same on the CPU says what must come out.
 */
/* only: asan */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"
#include "device/tensor.h"
#include "point.h"
#include "stage/attn.h"
#include "stage/write_behind.h"
#include "stage/expert.h"
#include "stage/stage.h"

#define COLS 100u       /* of h */

static struct device *gpu;
static struct scratch copy;

static void
must(int r, const char *what)
{
	if (r < 0) {
		printf("Bail out! %s: %s\n", what, fail_text());
		exit(1);
	}
}

static const char *
path_of(int fd, char path[32])
{
	snprintf(path, 32, "/dev/fd/%d", fd);
	return path;
}

/* --- the stage --- */

static int
twice(void *arg, struct frame *f, struct link *out, int nout)
{
	struct device *d = arg;
	struct tensor *t = frame_tensor(f, "h");
	float *h, *same;

	(void)out, (void)nout;
	if (f->op != OP_NONE)
		return 1;
	if (f->layer == 99)
		return fail(FAIL_DATA, "layer 99 is one too many");
	if (!d) {
		for (size_t i = 0; i < t->bytes / sizeof(*h); i++)
			((float *)t->data)[i] *= 2;
		f->changed = 1;
		return 1;
	}
	if (!(h = device_tensor(d, f, "h", F32, f->rows, COLS)) || !(same = device_reserve(d, &copy, t->bytes)))
		return -1;
	device_wrote(f, "h");
	return d->lib->copy(d->gpu, same, h, t->bytes) < 0 || d->lib->add(d->gpu, h, same, t->bytes / sizeof(*h)) < 0 ? device_fail(d, "h") : 1;
}

/* --- frames --- */

static void
put(struct buf *b, int layer, uint32_t rows, float first)
{
	struct tensor *t;
	struct frame f;

	frame_init(&f);
	must(frame_set_spans(&f, &(struct span){.seq = 1, .n = rows}, 1), "a frame");
	must((t = frame_add(&f, "h", F32, 2, (uint64_t[]){rows, COLS})) ? 0 : -1, "a frame");
	for (uint32_t i = 0; i < rows * COLS; i++)
		((float *)t->data)[i] = first + (float)i;
	frame_set_at(&f, AT_ATTN, layer);
	must(frame_bytes(&f, b), "a frame");
	frame_free(&f);
}

static void
put_op(struct buf *b, enum op op)
{
	struct frame f;

	frame_init(&f);
	f.op = op;
	f.changed = 1;
	if (op == OP_ERROR)
		must(frame_set_text(&f, "it has failed"), "a text");
	must(frame_bytes(&f, b), "a frame");
	frame_free(&f);
}

/* Large ones and small ones in turn, that pinned memory grows and is used by both. */
static void
stream(struct buf *b)
{
	for (uint32_t i = 0; i < 24; i++) {
		put(b, 1, i % 7 == 3 ? 2 : 170 + 40 * (i % 5) + 300 * (i / 12), (float)i);
		if (i % 9 == 4)
			put_op(b, OP_FREE);
	}
}

static int
file_of(const struct buf *b)
{
	int fd = memfd_create("frames", MFD_CLOEXEC);

	must(fd, "memfd_create");
	must(b ? io_write(fd, b->p, b->n) : 0, "writing");
	return fd;
}

/* --- runs --- */

struct result {
	int r, status;
	char text[256];
};

/* Both endpoints are opened, and closed, with it. */
static struct result
run(const char *from, const char *to, struct device *d)
{
	struct result got = {0};
	struct link in, out;

	must(link_open(&in, from, LINK_IN), from);
	must(link_open(&out, to, LINK_OUT), to);
	got.r = stage_run(&in, &out, 1, twice, d, d);
	got.status = fail_status();
	snprintf(got.text, sizeof(got.text), "%s", fail_text());
	(void)link_close(&in);
	(void)link_close(&out);
	return got;
}

static struct result
run_file(const struct buf *b, struct device *d, struct buf *written)
{
	char from[32], to[32];
	int in = file_of(b), out = file_of(NULL);
	struct result got = run(path_of(in, from), path_of(out, to), d);

	written->n = 0;
	lseek(out, 0, SEEK_SET);
	must(io_slurp(out, written, (size_t)1 << 30), "reading");
	close(in);
	close(out);
	return got;
}

static int
equal(const struct buf *a, const struct buf *b)
{
	return a->n == b->n && a->n > 0 && memcmp(a->p, b->p, a->n) == 0;
}

struct reader {
	int fd;
	struct buf got;
};

/* One that takes its time, so that the writer is behind whenever a frame comes. */
static void *
read_slowly(void *arg)
{
	struct reader *r = arg;
	ssize_t n;

	do {
		if (mem_grow(&r->got.p, &r->got.cap, r->got.n + 40000, 1) < 0)
			break;
		n = read(r->fd, r->got.p + r->got.n, 40000);
		r->got.n += n > 0 ? (size_t)n : 0;
		usleep(500);
	} while (n > 0);
	return NULL;
}

static void
slowly(const struct buf *frames, const struct buf *want)
{
	struct reader r = {0};
	struct result got;
	char from[32], to[32];
	pthread_t thread;
	int in = file_of(frames), fd[2];

	must(pipe2(fd, O_CLOEXEC), "a pipe");
	r.fd = fd[0];
	must(pthread_create(&thread, NULL, read_slowly, &r) == 0 ? 0 : -1, "a thread");
	{
		struct link li, lo;

		must(link_open(&li, path_of(in, from), LINK_IN), from);
		must(link_open(&lo, path_of(fd[1], to), LINK_OUT), to);
		close(fd[1]);
		got.r = stage_run(&li, &lo, 1, twice, gpu, gpu);
		(void)link_close(&li);
		(void)link_close(&lo);
	}
	pthread_join(thread, NULL);
	point(got.r == 0 && equal(&r.got, want), "a slow reader gets the same");
	buf_free(&r.got);
	close(fd[0]);
	close(in);
}

static void
failures_of(void)
{
	struct buf frames = {0}, want = {0}, written = {0};
	struct result a, b;
	char from[32];
	int in, fd[2];

	put(&frames, 1, 400, 1);
	put(&frames, 1, 300, 2);
	put(&frames, 99, 300, 3);
	a = run_file(&frames, NULL, &want);
	b = run_file(&frames, gpu, &written);
	point(a.r == -1 && b.r == -1 && b.status == FAIL_DATA && strcmp(a.text, b.text) == 0 && equal(&want, &written),
	    "a stage that fails: its error frame stands behind what was computed");
	frames.n = 0;
	put(&frames, 1, 400, 1);
	put_op(&frames, OP_ERROR);
	a = run_file(&frames, NULL, &want);
	b = run_file(&frames, gpu, &written);
	point(a.r == -1 && b.r == -1 && b.status == a.status && strcmp(a.text, b.text) == 0 && equal(&want, &written), "so does one that came");
	frames.n = 0;
	put(&frames, 1, 400, 1);
	a = run_file(&frames, NULL, &want);
	b = run_file(&frames, gpu, &written);
	point(a.r == -1 && b.r == -1 && b.status == a.status && strstr(b.text, "without an end frame") && equal(&want, &written),
	    "and that of an input that breaks off");
	for (int n = 1; n < 3; n++) {
		must(pipe2(fd, O_CLOEXEC), "a pipe");
		frames.n = 0;
		put(&frames, 1, 200, 1);
		if (n == 2)
			put_op(&frames, OP_END);
		in = fcntl(fd[1], F_SETPIPE_SZ, 1 << 20);
		must(in, "a wide pipe");
		must(io_write(fd[1], frames.p, frames.n), "writing");
		alarm(20);
		b = run(path_of(fd[0], from), "/dev/full", gpu);
		alarm(0);
		point(b.r == -1 && b.status == FAIL_SYSTEM && strstr(b.text, "/dev/full: cannot write: No space left"),
		    n == 1 ? "a full disk ends it, though nothing more comes in" : "or the end does");
		close(fd[0]);
		close(fd[1]);
	}
	buf_free(&frames);
	buf_free(&want);
	buf_free(&written);
}

/* --- what is left of a frame --- */

static struct gpu_lib broken;
static const struct gpu_lib *whole;
static int countdown;   /* calls of `add` or `mlp` until one fails */

static int
add(struct gpu *g, float *y, const float *x, size_t n)
{
	return countdown-- == 0 ? -1 : whole->add(g, y, x, n);
}

static int
mlp(struct gpu *g, int64_t *acc, const float *x, int D, const struct mlp *mlps, const struct mlp *like,
    const struct expert_pairs *o, int32_t *bad, float *each, void *scratch, enum precision p)
{
	return countdown-- == 0 ? -1 : whole->mlp(g, acc, x, D, mlps, like, o, bad, each, scratch, p);
}

/* With all taps, in the middle: copies to or from the frame, which is freed then, must not be on the stream any more. */
static void
left_over(const char *dir)
{
	static struct model model;
	struct stage s = {.model = &model, .k = kernels_choose(),
	    .taps = TAP_ALL | TAPS_ATTN | TAP_BIT(TAP_EXPERT_EACH)};
	struct expert expert;
	struct attn attn;
	struct tensor *t;
	struct frame f;
	int K, D;

	must(model_open(&model, dir), dir);
	must(layers_parse(&s.layers, "1", model.config.num_layers), "layers");
	must((s.pool = pool_new(1)) && (s.device = device_new(0, s.pool, s.k)) ? 0 : -1, "a stage");
	must(attn_open(&attn, &s), "attention");
	must(expert_open(&expert, &s, NULL), "experts");
	must(device_start(s.device), "the GPU");
	K = model.config.num_experts_per_tok;
	D = model.config.hidden_size;
	whole = s.device->lib;
	broken = *whole;
	broken.add = add;
	broken.mlp = mlp;
	s.device->lib = &broken;
	for (int i = 0; i < 2; i++) {
		frame_init(&f);
		must(frame_set_spans(&f, &(struct span){.seq = 1, .n = 5}, 1), "spans");
		must((t = frame_add(&f, "h", F32, 2, (uint64_t[]){5, (uint64_t)D})) ? 0 : -1, "h");
		memset(t->data, 0, t->bytes);
		must((t = frame_add(&f, "expert.w", F32, 2, (uint64_t[]){5, (uint64_t)K})) ? 0 : -1, "w");
		memset(t->data, 0, t->bytes);
		must((t = frame_add(&f, "expert.idx", I32, 2, (uint64_t[]){5, (uint64_t)K})) ? 0 : -1, "idx");
		for (int k = 0; k < 5 * K; k++)
			((int32_t *)t->data)[k] = k % K;
		frame_set_at(&f, i ? AT_EXPERT : AT_ATTN, 1);
		countdown = 0;
		point((i ? expert_frame(&expert, &f, NULL, 0) : attn_frame(&attn, &f, NULL, 0)) < 0 && fail_status() == FAIL_SYSTEM,
		    i ? "experts that fail with their tap on its way" : "attention that fails with taps on their way");
		frame_free(&f);
		must(device_wait(s.device), "waiting");
	}
	s.device->lib = whole;
	attn_close(&attn);
	expert_close(&expert);
	device_close(s.device);
	pool_free(s.pool);
	model_close(&model);
}

int
main(void)
{
	struct buf frames = {0}, want = {0}, written = {0};
	struct result got;

	must((gpu = device_new(0, NULL, NULL)) ? device_start(gpu) : -1, "the GPU");
	stream(&frames);
	put_op(&frames, OP_END);
	must(run_file(&frames, NULL, &want).r, "on the CPU");
	got = run_file(&frames, gpu, &written);
	point(got.r == 0 && equal(&want, &written), "frames that are written behind are those of the CPU, in their order");
	point(gpu->turn == 1, "the 21 large ones were, by two pieces of pinned memory in turn");
	slowly(&frames, &want);
	failures_of();
	device_release(gpu, &copy);
	device_close(gpu);
	left_over("tests/golden/v3");
	buf_free(&frames);
	buf_free(&want);
	buf_free(&written);
	printf("1..%d\n", points);
	return failures > 0;
}
