/*
 * checkgpu_upload: weights reach the GPU as they are, in TAP.
 *
 * What stages want is copied back from there and compared, byte for byte: matrices of each kind,
 * odd ones, ones larger than a pinned buffer and than a piece of memory, and those of a checkpoint's mapped files.
 */
/* only: asan */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "arch/model.h"
#include "point.h"

#define MATS 11         /* the last but one is more than a pinned buffer, the last more than a piece */
#define VECS 3

static void
must(int r, const char *what)
{
	if (r < 0) {
		printf("Bail out! %s: %s\n", what, fail_text());
		exit(1);
	}
}

static void *
bytes_new(size_t n)
{
	unsigned char *p = malloc(n + 8);

	must(p ? 0 : -1, "memory");
	for (size_t i = 0; i < n; i += 8) {
		uint64_t x = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

		memcpy(p + i, &x, 8);
	}
	return p;
}

static size_t
data_bytes(const struct mat *w)
{
	return (size_t)w->rows * dtype_row(w->dtype, w->cols);
}

static size_t
scale_bytes(const struct mat *w)
{
	return ((size_t)(w->row0 + w->rows) + 127) / 128 * (size_t)w->scale_cols * sizeof(float);
}

static size_t
groups_bytes(const struct mat *w)
{
	return (size_t)w->rows * (((size_t)w->cols + 15) / 16);
}

static struct mat
mat_new(enum dtype t, int rows, int cols, int row0)
{
	struct mat w = {.rows = rows, .cols = cols, .row0 = row0, .dtype = t};

	w.data = bytes_new(data_bytes(&w));
	if (t == F8_E4M3) {
		w.scale_cols = (cols + 127) / 128;
		w.scale = bytes_new(scale_bytes(&w));
	} else if (t >= Q8) {
		w.factor = 1;
		w.groups = bytes_new(groups_bytes(&w));
	}
	return w;
}

static void
mat_free(struct mat *w)
{
	free((void *)w->data);
	free((void *)w->scale);
	free((void *)w->groups);
}

/* n bytes in the GPU, at a multiple of 256 bytes, are those of the host. */
static int
arrived(struct device *d, const void *there, const void *here, size_t n)
{
	unsigned char *back = malloc(n);
	int r;

	must(back ? 0 : -1, "memory");
	must(d->lib->download(d->gpu, back, there, n) < 0 || d->lib->wait(d->gpu) < 0 ? device_fail(d, "download") : 0, "copying back");
	r = (uintptr_t)there % 256 == 0 && memcmp(back, here, n) == 0;
	free(back);
	return r;
}

static int
mat_arrived(struct device *d, const struct mat *there, const struct mat *here)
{
	return there->data != here->data && arrived(d, there->data, here->data, data_bytes(here)) &&
	    (!here->scale || arrived(d, there->scale, here->scale, scale_bytes(here))) &&
	    (!here->groups || arrived(d, there->groups, here->groups, groups_bytes(here)));
}

/* --- weights made up --- */

static void
check_kinds(struct pool *pool, int mats)
{
	struct mat here[MATS] = {
		mat_new(F32, 3, 5, 0), mat_new(BF16, 7, 129, 0), mat_new(F16, 1, 1, 0), mat_new(F8_E4M3, 300, 257, 0),
		mat_new(F8_E4M3, 100, 64, 200), mat_new(F8_E4M3, 5, 3, 0), mat_new(Q8, 17, 33, 0), mat_new(Q4, 17, 33, 0),
		mat_new(Q8, 129, 16, 0), mat_new(F32, 4096, 1025, 0),
		mat_new(BF16, 4501, 15001, 0),
	}, there[MATS], again;
	float *vec[VECS], *was[VECS];
	const int len[VECS] = {1, 7168, 65};
	struct device *d = device_new(0, NULL, NULL);
	uint64_t weights = 0;
	int good = 1;

	must(d ? 0 : -1, "device_new");
	d->pool = pool;
	memcpy(there, here, sizeof(here));
	again = here[3];
	for (int i = mats - 1; i >= 0; i--) {
		must(device_register(d, &there[i]), "device_register");
		weights += data_bytes(&here[i]) + (here[i].scale ? scale_bytes(&here[i]) : 0) + (here[i].groups ? groups_bytes(&here[i]) : 0);
	}
	must(device_register(d, &again), "device_register");
	for (int i = 0; i < VECS; i++) {
		vec[i] = bytes_new((size_t)len[i] * sizeof(float));
		must(device_register_vec(d, &vec[i], (size_t)len[i]), "device_register_vec");
		was[i] = vec[i];
		weights += (size_t)len[i] * sizeof(float);
	}

	setenv("DS_CUDA_WAS", getenv("DS_CUDA") ? getenv("DS_CUDA") : "", 1);
	setenv("DS_CUDA", "/nonexistent", 1);
	point(device_start(d) < 0 && fail_status() == FAIL_SYSTEM, "without a library there is no start");
	for (int i = 0; i < VECS; i++)
		good &= vec[i] == was[i];
	point(good && memcmp(there, here, sizeof(here)) == 0, "the wants are then as they were");
	setenv("DS_CUDA", getenv("DS_CUDA_WAS"), 1);

	must(device_start(d), "device_start");
	for (int i = 0; i < mats; i++) {
		char what[64];

		snprintf(what, sizeof(what), "%s [%d][%d]%s arrives", dtype_name(here[i].dtype), here[i].rows, here[i].cols,
		    here[i].row0 ? ", a slice," : "");
		point(mat_arrived(d, &there[i], &here[i]), what);
	}
	good = 1;
	for (int i = 0; i < VECS; i++) {
		void *same = bytes_new((size_t)len[i] * sizeof(float));

		good &= vec[i] != was[i] && arrived(d, vec[i], same, (size_t)len[i] * sizeof(float));
		free(same);
	}
	point(good, "vectors arrive");
	point(again.data == there[3].data && again.scale == there[3].scale, "what was wanted twice is there once");
	point(d->weights >= weights && d->weights < weights + (size_t)(2 * MATS + VECS) * 256, "the budget is what was wanted");
	for (int i = 0; i < VECS; i++)
		device_vec_free(d, vec[i]);
	device_close(d);
	for (int i = 0; i < MATS; i++)
		mat_free(&here[i]);
}

/* --- a checkpoint's --- */

static void
check_files(const char *dir)
{
	struct model m;
	struct mat here[3], there[3];
	struct device *d = device_new(0, NULL, NULL);
	float *norm, *copy;
	int D, good = 1;

	must(d ? 0 : -1, "device_new");
	must(model_open(&m, dir), dir);
	D = m.config.hidden_size;
	must(model_weight(&m, ROLE_HEAD, -1, -1, &here[0]), "head");
	must(model_weight(&m, ROLE_KV_A, 1, -1, &here[1]), "kv_a");
	must(model_weight(&m, ROLE_EXPERT_UP, 1, 0, &here[2]), "up");
	norm = model_vector(&m, ROLE_FINAL_NORM, -1);
	copy = model_vector(&m, ROLE_FINAL_NORM, -1);
	must(norm && copy ? 0 : -1, "norm");
	memcpy(there, here, sizeof(here));
	for (int i = 0; i < 3; i++)
		must(device_register(d, &there[i]), "device_register");
	must(device_register_vec(d, &norm, (size_t)D), "device_register_vec");
	must(device_start(d), "device_start");
	for (int i = 0; i < 3; i++)
		good &= mat_arrived(d, &there[i], &here[i]);
	point(good && arrived(d, norm, copy, (size_t)D * sizeof(float)), "weights of a checkpoint arrive");
	device_vec_free(d, norm);
	free(copy);
	device_close(d);
	model_close(&m);
}

/* --- working memory --- */

static void
check_working(void)
{
	struct device *d = device_new(0, NULL, NULL);
	struct scratch s = {0};
	void *p, *q;
	uint64_t moves;

	must(d ? 0 : -1, "device_new");
	must(device_start(d), "device_start");
	point(d->weights == 0 && d->working == 0, "who wants nothing starts");
	p = device_reserve(d, &s, 1000);
	moves = d->moves;
	point(p && d->working == 1000 && device_reserve(d, &s, 10) == p && d->moves == moves, "working memory stays where it is");
	q = device_reserve(d, &s, 1001);
	point(q && s.bytes == 1250 && d->working == 1250 && d->moves == moves + 1, "it grows by a quarter at least, and that is known");
	point(!device_reserve(d, &s, (size_t)1 << 50) && strstr(fail_text(), "cuda:0: cannot allocate 1.000 PiB") == fail_text() && !s.p && d->working == 0,
	    "too much is refused in words");
	p = device_reserve(d, &s, 0);
	point(p != NULL, "none is some");
	device_release(d, &s);
	point(!s.p && d->working == 0, "and goes back");
	device_close(d);
}

int
main(void)
{
	struct pool *pool = pool_new(2);

	must(pool ? 0 : -1, "pool_new");
	check_kinds(pool, MATS);
	check_kinds(NULL, MATS - 1);
	check_files("tests/golden/v3-fp8-odd");
	check_files("examples/tiny-r1");
	check_working();
	pool_free(pool);
	printf("1..%d\n", points);
	return failures > 0;
}
