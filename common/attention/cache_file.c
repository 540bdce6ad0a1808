#include "attention/cache_file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fail.h"
#include "frame/frame_file.h"

#define FRAME_BYTES ((size_t)128 << 10) /* pages that a frame has, about */

static size_t
page_bytes(const struct cache *c)
{
	return CACHE_PAGE * c->row;
}

static uint32_t
pages_of(uint32_t n)
{
	return n / CACHE_PAGE + (n % CACHE_PAGE > 0);
}

#define NAME_BYTES 64           /* of the longest name in the folder, and more */

int
cache_folder_open(const char *dir)
{
	struct stat st;

	if (strlen(dir) + NAME_BYTES > PATH_MAX)
		return fail(FAIL_USAGE, "--cache-dir '%s': the path is too long", dir);
	if (mkdir(dir, 0777) < 0 && errno != EEXIST)
		return fail(FAIL_SYSTEM, "--cache-dir '%s': cannot make it:", dir);
	if (stat(dir, &st) < 0)
		return fail(FAIL_SYSTEM, "--cache-dir '%s':", dir);
	return S_ISDIR(st.st_mode) ? 0 :
	    fail(FAIL_USAGE, "--cache-dir '%s' is not a folder", dir);
}

/* --- saving --- */

/* The end of the last page belongs to another sequence, or was never set. */
static void
clear_rest(const struct cache_layout *l, char *page, size_t n)
{
	size_t widths[2] = {l->key, l->value};

	for (size_t h = 0; h < l->heads; h++)
		for (int i = 0; i < 2; i++) {
			memset(page + n * widths[i], 0, (CACHE_PAGE - n) * widths[i]);
			page += CACHE_PAGE * widths[i];
		}
	memset(page + n * l->rest, 0, (CACHE_PAGE - n) * l->rest);
}

/* A frame of n positions from pos on, which begin a page. */
static int
make_frame(const struct cache_file *f, const struct cache *c, const struct cache_seq *s,
    uint32_t pos, uint32_t n, struct frame *to)
{
	const struct span span = {0, pos, n, 0};
	size_t bytes = page_bytes(c);
	uint64_t rows = n, shape[2] = {pages_of(n), bytes / dtype_size(f->layout->dtype)};
	struct tensor *ids;
	char *p;

	if (frame_set_spans(to, &span, 1) < 0 || !(ids = frame_add(to, "ids", I32, 1, &rows)))
		return -1;
	memcpy(ids->data, f->ids + pos, ids->bytes);
	if (!frame_add(to, "pages", f->layout->dtype, 2, shape))
		return -1;
	p = frame_tensor(to, "pages")->data;
	for (uint32_t b = 0; b < shape[0]; b++, p += bytes)
		if (c->device->ops->fetch(c->device, p, cache_page(s, pos / CACHE_PAGE + b),
		    bytes) < 0)
			return -1;
	if (n % CACHE_PAGE > 0)
		clear_rest(f->layout, p - bytes, n % CACHE_PAGE);
	return 0;
}

static int
write_pages(const struct cache_file *f, const struct cache *c, const struct cache_seq *s,
    struct frame_file *to)
{
	size_t most = FRAME_BYTES / page_bytes(c);
	uint32_t step = CACHE_PAGE * (most > 0 ? (uint32_t)most : 1), left;
	struct frame frame;
	int r = 0;

	frame_init(&frame);
	for (uint32_t pos = 0; pos < f->n && r == 0; pos += step) {
		left = f->n - pos;
		frame_free(&frame);
		frame_set_at(&frame, AT_ATTN, f->layer);
		memcpy(frame.model, f->model, sizeof(frame.model));
		frame.precision = f->precision;
		frame.cache_type = f->type;
		if ((r = make_frame(f, c, s, pos, left < step ? left : step, &frame)) == 0)
			r = frame_file_write(to, &frame);
	}
	frame_free(&frame);
	return r;
}

int
cache_file_save(const struct cache_file *f, const struct cache *c, const struct cache_seq *s)
{
	struct frame_file to;

	if (frame_file_create(&to, f->path) < 0)
		return -1;
	return frame_file_finish(&to, write_pages(f, c, s, &to));
}

/* --- loading --- */

/* What pages hold, for people. */
static const char *
pages_text(enum dtype type, enum dtype dtype)
{
	return type == BF16 ? "bf16 of a CPU" : dtype == BF16 ? "bf16 of a GPU" : "f32";
}

static int
check_type(const struct cache_file *f, struct frame *frame)
{
	const struct tensor *pages = frame_tensor(frame, "pages");
	enum dtype dtype = pages ? pages->dtype : f->layout->dtype;

	return frame->cache_type == f->type && dtype == f->layout->dtype ? 0 :
	    fail(FAIL_DATA, "its KV cache is in %s, this one in %s",
	    pages_text(frame->cache_type, dtype), pages_text(f->type, f->layout->dtype));
}

/* Whether the frame is what was saved of the positions from pos on; *n: how many are loaded. */
static int
check_frame(const struct cache_file *f, const struct cache *c, uint32_t pos, struct frame *frame,
    uint32_t *n)
{
	const struct span *s = frame->spans;
	struct tensor *ids, *pages;

	if (frame->op != OP_NONE || frame->at != AT_ATTN || frame->layer != f->layer ||
	    frame->nspans != 1 || s->n == 0 || s->pos != pos || pos % CACHE_PAGE != 0)
		return fail(FAIL_DATA, "it does not go on with position %" PRIu32 " of layer %d",
		    pos, f->layer);
	if (!frame->model[0])
		return fail(FAIL_DATA, "it states no model");
	if (strcmp(frame->model, f->model) != 0)
		return fail(FAIL_DATA, "it is of model %s", frame->model);
	if (frame->precision != f->precision)
		return fail(FAIL_DATA, "it is of precision %s", precision_name(frame->precision));
	if (check_type(f, frame) < 0)
		return -1;
	if (!(ids = frame_require(frame, "ids", I32, s->n, 0)) ||
	    !(pages = frame_require(frame, "pages", f->layout->dtype, pages_of(s->n),
	    page_bytes(c) / dtype_size(f->layout->dtype))))
		return -1;
	*n = s->n < f->n - pos ? s->n : f->n - pos;
	if (memcmp(ids->data, f->ids + pos, *n * sizeof(*f->ids)) != 0)
		return fail(FAIL_DATA, "it is of other tokens");
	return 0;
}

static int
append_pages(struct cache *c, struct cache_seq *s, const char *from, uint32_t n)
{
	size_t bytes = page_bytes(c), b = s->npages;

	for (uint32_t i = 0; i < n; i++)
		if (cache_append(c, s) < 0)
			return -1;
	for (; b < s->npages; b++, from += bytes)
		if (c->device->ops->send(c->device, cache_page(s, b), from, bytes) < 0)
			return -1;
	return 0;
}

static int
read_pages(const struct cache_file *f, struct cache *c, struct cache_seq *s,
    struct frame_file *from)
{
	struct frame frame;
	int r = 0;

	frame_init(&frame);
	while (s->n < f->n && r == 0) {
		uint32_t n = 0;

		if ((r = frame_file_read(from, &frame)) < 0)
			break;
		if ((r = check_frame(f, c, s->n, &frame, &n)) < 0)
			r = fail_in("'%s'", f->path);
		else
			r = append_pages(c, s, frame_tensor(&frame, "pages")->data, n);
	}
	frame_free(&frame);
	return r;
}

int
cache_file_load(const struct cache_file *f, struct cache *c, uint64_t seq)
{
	struct frame_file from;
	struct cache_seq *s;
	int r;

	if (cache_find(c, seq))
		return fail(FAIL_DATA, "sequence %" PRIu64 ": load to it, but it exists", seq);
	if (frame_file_open(&from, f->path) < 0)
		return -1;
	s = cache_at(c, seq, 0);
	r = s ? read_pages(f, c, s, &from) : -1;
	frame_file_close(&from);
	if (r < 0)
		cache_release(c, seq);
	return r;
}
