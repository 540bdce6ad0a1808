/*
 * checkgpu_tensor: tensors of frames that lie in the GPU, and small arrays that are mirrored there, in TAP.
 *
 * The library's table is copied, with counters in front of what moves bytes: what has not changed is not to be moved.
 */
/* only: asan */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/mirror.h"
#include "device/tensor.h"
#include "point.h"

static const struct gpu_lib *real;
static struct gpu_lib counted;
static size_t sent, fetched;    /* bytes */

static int
upload(struct gpu *g, void *to, const void *host, size_t bytes)
{
	sent += bytes;
	return real->upload(g, to, host, bytes);
}

static int
download(struct gpu *g, void *host, const void *from, size_t bytes)
{
	fetched += bytes;
	return real->download(g, host, from, bytes);
}

static void
must(int r, const char *what)
{
	if (r < 0) {
		printf("Bail out! %s: %s\n", what, fail_text());
		exit(1);
	}
}

static struct device *
start(void)
{
	struct device *d = device_new(0, NULL, NULL);

	must(d && device_start(d) == 0 ? 0 : -1, "the GPU");
	real = d->lib;
	counted = *real;
	counted.upload = upload;
	counted.download = download;
	d->lib = &counted;
	return d;
}

/* A frame with h [rows][3], its elements counted from `first`. */
static void
frame_of(struct frame *f, uint64_t rows, float first)
{
	struct tensor *t;

	frame_init(f);
	t = frame_add(f, "h", F32, 2, (uint64_t[]){rows, 3});
	must(t ? 0 : -1, "a frame");
	for (uint64_t i = 0; i < 3 * rows; i++)
		((float *)t->data)[i] = first + (float)i;
	frame_set_at(f, AT_ATTN, 0);
}

static int
counts_from(const float *x, size_t n, float first)
{
	for (size_t i = 0; i < n; i++)
		if (x[i] != first + (float)i)
			return 0;
	return 1;
}

/* What the stages of one process do with a frame, one after the other. */
static void
handed_on(struct device *d)
{
	const float more[] = {100, 101, 102, 103, 104, 105};
	struct tensor *t;
	struct frame f;
	float *h, *again;

	frame_of(&f, 2, 1);
	sent = fetched = 0;
	h = device_tensor(d, &f, "h", F32, 2, 3);
	point(h && sent == 24 && fetched == 0, "a tensor goes to the GPU when it is asked for there");
	must(real->upload(d->gpu, h, more, sizeof(more)), "writing");
	device_wrote(&f, "h");
	again = device_tensor(d, &f, "h", F32, 2, 3);
	point(again == h && sent == 24 && fetched == 0, "once written there it is handed on without a copy");
	t = frame_require(&f, "h", F32, 2, 3);
	point(t && counts_from(t->data, 6, 100) && fetched == 24 && (uintptr_t)t->data % 64 == 0, "the host gets what was written, once it asks");
	t = frame_require(&f, "h", F32, 2, 3);
	point(t && fetched == 24, "which is fetched once");
	((float *)t->data)[0] = 7;
	again = device_tensor(d, &f, "h", F32, 2, 3);
	device_wrote(&f, "h");
	t = frame_require(&f, "h", F32, 2, 3);
	point(again == h && t && *(float *)t->data == 7, "and what the host changes then goes to the GPU again");
	point(!device_tensor(d, &f, "h", F32, 2, 4) && fail_status() == FAIL_DATA && strstr(fail_text(), "tensor 'h' is F32 of rank 2"),
	    "another shape is refused as for the host");
	point(!device_tensor(d, &f, "x", F32, 2, 4) && strstr(fail_text(), "no tensor 'x'"), "so is what is not there");
	frame_free(&f);
}

static void
made_there(struct device *d)
{
	const int64_t numbers[] = {5, -6, 7};
	struct frame f, back;
	struct buf b = {0};
	struct tensor *t;
	void *p, *raw;

	frame_of(&f, 1, 1);
	p = device_add(d, &f, "expert.acc", I64, 2, (uint64_t[]){1, 3});
	point(p != NULL && frame_tensor(&f, "expert.acc"), "a tensor that the GPU makes is in the frame at once");
	must(real->upload(d->gpu, p, numbers, sizeof(numbers)), "writing");
	sent = fetched = 0;
	must(frame_bytes(&f, &b), "encoding");
	frame_init(&back);
	raw = mem_raw(b.n, 1);
	memcpy(raw, b.p, b.n);
	must(frame_parse(&back, raw, b.n), "parsing");
	t = frame_require(&back, "expert.acc", I64, 1, 3);
	point(t && memcmp(t->data, numbers, sizeof(numbers)) == 0 && fetched == sizeof(numbers) && sent == 0,
	    "a frame that is sent is fetched, only what lies there");
	frame_free(&back);
	buf_free(&b);
	fetched = 0;
	must(device_add(d, &f, "expert.acc", I64, 2, (uint64_t[]){1, 3}) ? 0 : -1, "once more");
	frame_drop(&f, "expert.acc");
	must(frame_bytes(&f, &b), "encoding");
	point(fetched == 0 && !frame_tensor(&f, "expert.acc"), "one that was dropped is not");
	buf_free(&b);
	point(device_add(d, &f, "none", F32, 2, (uint64_t[]){0, 3}) && (t = frame_require(&f, "none", F32, 0, 3)) && t->bytes == 0,
	    "a tensor may have no rows");
	frame_free(&f);
}

static void
places(struct device *d)
{
	struct frame f, g;
	uint64_t moves;
	float *p;

	frame_of(&f, 100, 1);
	p = device_tensor(d, &f, "h", F32, 100, 3);
	frame_of(&g, 90, 5);
	moves = d->moves;
	device_wrote(&f, "h");
	point(p && device_tensor(d, &g, "h", F32, 90, 3) == p && d->moves == moves, "tensors of a name have one place, while they fit");
	point(!frame_require(&f, "h", F32, 100, 3) && strstr(fail_text(), "tensor 'h'") && strstr(fail_text(), "another frame"),
	    "to ask for one that another was put over is an error");
	point(!device_tensor(d, &f, "h", F32, 100, 3) && frame_bytes(&f, &(struct buf){0}) < 0, "there and when it is sent, too");
	frame_free(&g);
	frame_of(&g, 100000, 5);
	point(device_tensor(d, &g, "h", F32, 100000, 3) && d->moves > moves, "a place that moves is counted");
	frame_free(&f);
	frame_free(&g);
}

static void
mirrored(struct device *d)
{
	uint32_t all[4000], back[4000];
	struct mirror m = {0};
	int good = 1;

	for (size_t i = 0; i < 4000; i++)
		all[i] = (uint32_t)i;
	sent = 0;
	good &= mirror_set(d, &m, all, 4 * 1000) == 1 && sent == 4000;
	good &= mirror_set(d, &m, all, 4 * 1000) == 0 && mirror_set(d, &m, all, 4 * 999) == 0 && mirror_set(d, &m, all, 0) == 0 && sent == 4000;
	point(good, "what is there already is not sent again");
	all[500] = 1;
	sent = 0;
	point(mirror_set(d, &m, all, 4 * 1000) == 1 && sent == 256, "of what has changed only the part that differs");
	sent = 0;
	all[3999] = 2;
	good = mirror_set(d, &m, all, sizeof(all)) == 1 && sent == sizeof(all);
	must(real->download(d->gpu, back, m.p, sizeof(back)), "reading");
	must(device_wait(d), "waiting");
	point(good && memcmp(all, back, sizeof(all)) == 0, "what grows is sent whole, and all of it arrives");
	for (uint32_t i = 0; good && i < 300; i++) {
		size_t n = 1 + i * 7919 % 4000;

		for (size_t k = i; k < n; k += 17 + i)
			all[k] ^= i;
		good = mirror_set(d, &m, all, n * sizeof(*all)) >= 0;
		must(real->download(d->gpu, back, m.p, n * sizeof(*all)), "reading");
		must(device_wait(d), "waiting");
		good = good && memcmp(all, back, n * sizeof(*all)) == 0;
	}
	point(good, "so it does after any changes");
	mirror_free(d, &m);
	point(!m.p && !m.host, "a mirror can be let go");
}

int
main(void)
{
	struct device *d = start();
	uint64_t working = d->working;

	handed_on(d);
	made_there(d);
	places(d);
	mirrored(d);
	device_slots_free(d);
	point(d->working == working, "what was taken of the GPU's memory has been given back");
	d->lib = real;
	device_close(d);
	printf("1..%d\n", points);
	return failures > 0;
}
