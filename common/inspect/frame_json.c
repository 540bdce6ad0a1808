#include "inspect/frame_json.h"

#include <inttypes.h>
#include <math.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "frame/text.h"
#include "kernels.h"

#define CHUNK 1024              /* elements converted at a time */

int
tensor_is_float(const struct tensor *t)
{
	return t->dtype != I32 && t->dtype != I64 && t->dtype != U8;
}

size_t
tensor_count(const struct tensor *t)
{
	return t->bytes / dtype_size(t->dtype);
}

void
tensor_floats(const struct tensor *t, size_t from, int n, float *out)
{
	struct mat m = {.data = (const char *)t->data + from * dtype_size(t->dtype), .rows = 1, .cols = n,
	    .dtype = t->dtype};

	kernels_named("ref")->row(out, &m, 0);
}

int64_t
tensor_int(const struct tensor *t, size_t i)
{
	const char *p = (const char *)t->data + i * dtype_size(t->dtype);
	int64_t wide;
	int32_t narrow;

	if (t->dtype == U8)
		return *(const unsigned char *)p;
	if (t->dtype == I64) {
		memcpy(&wide, p, sizeof(wide));
		return wide;
	}
	memcpy(&narrow, p, sizeof(narrow));
	return narrow;
}

void
frame_json_string(FILE *to, const char *s, size_t n)
{
	struct buf b = {0};

	if (utf8_clean(&b, s, n) < 0)
		b.n = 0;
	for (size_t i = 0; i < b.n; i++) {
		int c = b.p[i];

		if (c == '"' || c == '\\')
			fprintf(to, "\\%c", c);
		else if (c < 0x20 || c == 0x7f)
			fprintf(to, "\\u%04x", (unsigned)c);
		/* U+0080 to U+009F, also control characters */
		else if (c == 0xc2 && b.p[i + 1] < 0xa0)
			fprintf(to, "\\u%04x", (unsigned)b.p[++i]);
		else
			putc(c, to);
	}
	buf_free(&b);
}

static void
put_hex(FILE *to, const char *p, size_t n)
{
	putc('"', to);
	for (size_t i = 0; i < n; i++)
		fprintf(to, "%02x", (unsigned char)p[i]);
	putc('"', to);
}

/* Print enough digits to distinguish the type's values. */
static void
put_float(FILE *to, double v, int digits)
{
	if (isnan(v))
		fputs("\"NaN\"", to);
	else if (isinf(v))
		fputs(v < 0 ? "\"-Infinity\"" : "\"Infinity\"", to);
	else
		fprintf(to, "%.*g", digits, v);
}

static void put_object(FILE *to, const msgpack_object *o);

/* JSON keys are strings: any other key is printed as text in quotes. */
static void
put_key(FILE *to, const msgpack_object *o)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f;

	if (o->type == MSGPACK_OBJECT_STR || o->type == MSGPACK_OBJECT_BIN || o->type == MSGPACK_OBJECT_EXT) {
		put_object(to, o);
		return;
	}
	putc('"', to);
	if ((f = open_memstream(&text, &n)) != NULL) {
		put_object(f, o);
		fclose(f);
		frame_json_string(to, text, n);
		free(text);
	}
	putc('"', to);
}

static void
put_map(FILE *to, const msgpack_object_map *m)
{
	putc('{', to);
	for (uint32_t i = 0; i < m->size; i++) {
		if (i > 0)
			fputs(", ", to);
		put_key(to, &m->ptr[i].key);
		fputs(": ", to);
		put_object(to, &m->ptr[i].val);
	}
	putc('}', to);
}

static void
put_object(FILE *to, const msgpack_object *o)
{
	switch (o->type) {
	case MSGPACK_OBJECT_BOOLEAN:
		fputs(o->via.boolean ? "true" : "false", to);
		break;
	case MSGPACK_OBJECT_POSITIVE_INTEGER:
		fprintf(to, "%" PRIu64, o->via.u64);
		break;
	case MSGPACK_OBJECT_NEGATIVE_INTEGER:
		fprintf(to, "%" PRId64, o->via.i64);
		break;
	case MSGPACK_OBJECT_FLOAT32:
		put_float(to, o->via.f64, 9);
		break;
	case MSGPACK_OBJECT_FLOAT64:
		put_float(to, o->via.f64, 17);
		break;
	case MSGPACK_OBJECT_STR:
		putc('"', to);
		frame_json_string(to, o->via.str.ptr, o->via.str.size);
		putc('"', to);
		break;
	case MSGPACK_OBJECT_BIN:
		put_hex(to, o->via.bin.ptr, o->via.bin.size);
		break;
	case MSGPACK_OBJECT_EXT:
		put_hex(to, o->via.ext.ptr, o->via.ext.size);
		break;
	case MSGPACK_OBJECT_ARRAY:
		putc('[', to);
		for (uint32_t i = 0; i < o->via.array.size; i++) {
			if (i > 0)
				fputs(", ", to);
			put_object(to, &o->via.array.ptr[i]);
		}
		putc(']', to);
		break;
	case MSGPACK_OBJECT_MAP:
		put_map(to, &o->via.map);
		break;
	default:
		fputs("null", to);
	}
}

void
frame_json_value(FILE *to, const unsigned char *p, size_t n)
{
	msgpack_unpacked u;

	msgpack_unpacked_init(&u);
	if (msgpack_unpack_next(&u, (const char *)p, n, NULL) == MSGPACK_UNPACK_SUCCESS)
		put_object(to, &u.data);
	msgpack_unpacked_destroy(&u);
}

static void
put_run(FILE *to, const struct tensor *t, size_t from, size_t count)
{
	float v[CHUNK];

	for (size_t i = 0; i < count; i++) {
		if (tensor_is_float(t) && i % CHUNK == 0)
			tensor_floats(t, from + i, (int)(count - i < CHUNK ? count - i : CHUNK), v);
		if (i > 0)
			fputs(", ", to);
		if (tensor_is_float(t))
			put_float(to, (double)v[i % CHUNK], 9);
		else
			fprintf(to, "%" PRId64, tensor_int(t, from + i));
	}
}

/* Print nested lists from dimension d on: `size` elements, starting at `from`. */
static void
put_data(FILE *to, const struct tensor *t, int d, size_t from, size_t size)
{
	if (d >= t->rank - 1) {
		put_run(to, t, from, size);
		return;
	}
	size /= t->shape[d];
	for (uint64_t i = 0; i < t->shape[d]; i++) {
		fputs(i ? ", [" : "[", to);
		put_data(to, t, d + 1, from + i * size, size);
		putc(']', to);
	}
}

static void
put_tensor(FILE *to, const struct tensor *t)
{
	fputs("{\"name\": \"", to);
	frame_json_string(to, t->name, strlen(t->name));
	fprintf(to, "\", \"dtype\": \"%s\", \"shape\": [", dtype_name(t->dtype));
	for (int d = 0; d < t->rank; d++)
		fprintf(to, "%s%" PRIu64, d ? ", " : "", t->shape[d]);
	fputs(t->rank ? "], \"data\": [" : "], \"data\": ", to);
	if (tensor_count(t) > 0)        /* an empty tensor may claim any number of empty rows */
		put_data(to, t, 0, 0, tensor_count(t));
	fputs(t->rank ? "]}" : "}", to);
}

static void
put_pair(FILE *to, const struct frame *f, const msgpack_object_kv *e, int data)
{
	put_key(to, &e->key);
	fputs(": ", to);
	if (!data || f->op != OP_NONE || !is_text(&e->key, "tensors")) {
		put_object(to, &e->val);
		return;
	}
	putc('[', to);
	for (int i = 0; i < f->ntensors; i++) {
		fputs(i ? ", " : "", to);
		put_tensor(to, &f->tensors[i]);
	}
	putc(']', to);
}

void
frame_json_header(FILE *to, const struct frame *f, int data)
{
	msgpack_unpacked u;
	const char *comma = "";

	msgpack_unpacked_init(&u);
	putc('{', to);
	if (msgpack_unpack_next(&u, (const char *)f->raw + FRAME_PREAMBLE, f->nraw - FRAME_PREAMBLE, NULL) ==
	    MSGPACK_UNPACK_SUCCESS)
		for (uint32_t i = 0; i < u.data.via.map.size; i++) {
			if (is_text(&u.data.via.map.ptr[i].key, ""))
				continue;
			fputs(comma, to);
			comma = ", ";
			put_pair(to, f, &u.data.via.map.ptr[i], data);
		}
	putc('}', to);
	msgpack_unpacked_destroy(&u);
}
