#include "quant/gguf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/file.h"
#include "weights/gguf_format.h"
#include "weights/shard_file.h"

#define ALIGNMENT 32            /* of the data and of each tensor, unless metadata says otherwise */
#define VERSION 3

static void
put(struct gguf_file *f, const void *p, size_t n)
{
	if (!f->failed && buf_add(&f->values, p, n) < 0)
		f->failed = 1;
}

static void
put_text(struct gguf_file *f, const char *s, size_t n)
{
	uint64_t length = n;

	put(f, &length, sizeof(length));
	put(f, s, n);
}

static void
put_key(struct gguf_file *f, const char *key, enum gguf_type type)
{
	uint32_t number = type;

	put_text(f, key, strlen(key));
	put(f, &number, sizeof(number));
	f->nvalues++;
}

void
gguf_put_int(struct gguf_file *f, const char *key, uint32_t value)
{
	put_key(f, key, GGUF_UINT32);
	put(f, &value, sizeof(value));
}

void
gguf_put_signed(struct gguf_file *f, const char *key, int32_t value)
{
	put_key(f, key, GGUF_INT32);
	put(f, &value, sizeof(value));
}

void
gguf_put_float(struct gguf_file *f, const char *key, float value)
{
	put_key(f, key, GGUF_FLOAT32);
	put(f, &value, sizeof(value));
}

void
gguf_put_bool(struct gguf_file *f, const char *key, int value)
{
	unsigned char byte = value != 0;

	put_key(f, key, GGUF_BOOL);
	put(f, &byte, 1);
}

void
gguf_put_string(struct gguf_file *f, const char *key, const char *s, size_t n)
{
	put_key(f, key, GGUF_STRING);
	put_text(f, s, n);
}

void
gguf_put_array(struct gguf_file *f, const char *key, enum gguf_type type, uint64_t n)
{
	uint32_t number = type;

	put_key(f, key, GGUF_ARRAY);
	put(f, &number, sizeof(number));
	put(f, &n, sizeof(n));
}

void
gguf_put_element_string(struct gguf_file *f, const char *s, size_t n)
{
	put_text(f, s, n);
}

void
gguf_put_element_int(struct gguf_file *f, int32_t value)
{
	put(f, &value, sizeof(value));
}

void
gguf_put_value(struct gguf_file *f, const struct gguf_value *v)
{
	put(f, v->begin, (size_t)(v->end - v->begin));
	f->nvalues++;
}

/* --- tensors --- */

static int
add_info(struct gguf_file *f, const struct gguf_file_tensor *t, int rank, const uint64_t dims[])
{
	uint64_t length = strlen(t->name);
	uint32_t n = (uint32_t)rank, number = gguf_format_named(dtype_name(t->dtype))->number;

	return buf_add(&f->infos, &length, sizeof(length)) < 0 ||
	    buf_add(&f->infos, t->name, length) < 0 || buf_add(&f->infos, &n, sizeof(n)) < 0 ||
	    buf_add(&f->infos, dims, n * sizeof(*dims)) < 0 ||
	    buf_add(&f->infos, &number, sizeof(number)) < 0 ||
	    buf_add(&f->infos, &t->at, sizeof(t->at)) < 0 ? -1 : 0;
}

void
gguf_put_tensor(struct gguf_file *f, const char *name, enum dtype dtype, int rank,
    const uint64_t dims[])
{
	struct gguf_file_tensor *t;
	uint64_t n = dtype_row(dtype, (int)dims[0]);

	if (f->failed || mem_grow(&f->tensors, &f->cap, f->ntensors + 1, sizeof(*f->tensors)) < 0) {
		f->failed = 1;
		return;
	}
	for (int i = 1; i < rank; i++)
		n *= dims[i];           /* a model has it: it fits */
	t = &f->tensors[f->ntensors++];
	*t = (struct gguf_file_tensor){.dtype = dtype, .at = f->bytes, .bytes = n};
	snprintf(t->name, sizeof(t->name), "%s", name);
	f->bytes = (f->bytes + n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
	f->failed |= add_info(f, t, rank, dims) < 0;
}

/* --- the file --- */

static int
write_at(const struct gguf_file *f, uint64_t at, const void *p, size_t n)
{
	struct shard_file s = {.fd = f->fd};

	snprintf(s.path, sizeof(s.path), "%s", f->path);
	return shard_file_write(&s, at, p, n);
}

int
gguf_file_header(struct gguf_file *f, struct buf *b)
{
	uint32_t version = VERSION;
	uint64_t counts[2] = {f->ntensors, f->nvalues};
	int r = f->failed || buf_add(b, "GGUF", 4) < 0 ||
	    buf_add(b, &version, sizeof(version)) < 0 ||
	    buf_add(b, counts, sizeof(counts)) < 0 || buf_add(b, f->values.p, f->values.n) < 0 ||
	    buf_add(b, f->infos.p, f->infos.n) < 0 ? -1 : 0;

	while (r == 0 && b->n % ALIGNMENT != 0)
		r = buf_addc(b, 0);
	f->data = b->n;
	return r;
}

/* The file has all of its bytes from the start, and zeros where nothing is written. */
static int
write_header(struct gguf_file *f)
{
	struct buf b = {0};
	uint64_t end;
	int r = gguf_file_header(f, &b);

	end = f->data + f->bytes;
	if (r == 0)
		r = write_at(f, 0, b.p, b.n);
	if (r == 0 && f->bytes > 0)
		r = write_at(f, end - 1, "", 1);
	buf_free(&b);
	return r;
}

int
gguf_file_create(struct gguf_file *f, const char *path)
{
	if (f->failed)
		return -1;
	if (!(f->path = strdup(path)) || asprintf(&f->part, "%s.part", path) < 0) {
		f->part = NULL;
		return fail(FAIL_SYSTEM, "no memory for a path");
	}
	if (file_exists(path))          /* even a link to nothing: the rename would replace it */
		return fail(FAIL_USAGE, "'%s' exists: name a file that does not", path);
	if ((f->fd = open(f->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)) < 0)
		return errno == EEXIST ? fail(FAIL_USAGE, "'%s' exists: remove it if no other "
		    "program is writing it", f->part) :
		    fail(FAIL_SYSTEM, "cannot create '%s':", f->part);
	return write_header(f);
}

int
gguf_file_write(struct gguf_file *f, const struct gguf_file_tensor *t, uint64_t at, const void *p,
    size_t n)
{
	return write_at(f, f->data + t->at + at, p, n);
}

int
gguf_file_close(struct gguf_file *f, int done)
{
	int r = 0;

	if (f->fd >= 0) {
		if (close(f->fd) < 0 && done)
			r = fail(FAIL_SYSTEM, "'%s': cannot write:", f->path);
		if (done && r == 0 && rename(f->part, f->path) < 0)
			r = fail(FAIL_SYSTEM, "cannot rename '%s':", f->part);
		if (!done || r < 0)
			(void)unlink(f->part);
	}
	buf_free(&f->values);
	buf_free(&f->infos);
	free(f->tensors);
	free(f->path);
	free(f->part);
	*f = (struct gguf_file){.fd = -1};
	return r;
}
