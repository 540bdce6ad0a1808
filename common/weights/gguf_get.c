#include <math.h>
#include <string.h>

#include "base/fail.h"
#include "weights/gguf.h"

/* What getters accept. */
enum kind { INTEGERS, NUMBERS, TRUTHS, STRINGS };

static const char *const kinds[] = {
	[INTEGERS] = "an integer", [NUMBERS] = "a number", [TRUTHS] = "true or false",
	[STRINGS] = "a string"
}, *const lists[] = {
	[INTEGERS] = "an array of integers", [NUMBERS] = "an array of floats",
	[STRINGS] = "an array of strings"
};

static int
is_float(enum gguf_type type)
{
	return type == GGUF_FLOAT32 || type == GGUF_FLOAT64;
}

static int
is_kind(enum gguf_type type, enum kind kind)
{
	if (type == GGUF_STRING || type == GGUF_BOOL)
		return kind == (type == GGUF_STRING ? STRINGS : TRUTHS);
	return kind == INTEGERS ? !is_float(type) : kind == NUMBERS;
}

/* 1, 0 or -1, as the functions that use it. */
static int
find(const struct gguf *g, const char *key, enum json_presence presence, int array,
    enum kind kind, const struct gguf_value **v)
{
	const struct gguf_value *found = gguf_find(g, key);

	if (!found)
		return presence == JSON_REQUIRED ? fail(FAIL_DATA, "key '%s' is missing", key) : 0;
	if (found->array != array || !is_kind(found->type, kind))
		return fail(FAIL_DATA, "key '%s' is not %s", key,
		    array ? lists[kind] : kinds[kind]);
	*v = found;
	return 1;
}

int64_t
gguf_element_int(const struct gguf_value *a, uint64_t i)
{
	union { uint8_t u8; int8_t i8; uint16_t u16; int16_t i16; uint32_t u32; int32_t i32;
	    uint64_t u64; int64_t i64; } x;

#define READ(member) (memcpy(&x.member, a->p + i * sizeof(x.member), sizeof(x.member)), x.member)
	switch (a->type) {
	case GGUF_UINT8:
		return READ(u8);
	case GGUF_INT8:
		return READ(i8);
	case GGUF_UINT16:
		return READ(u16);
	case GGUF_INT16:
		return READ(i16);
	case GGUF_UINT32:
		return READ(u32);
	case GGUF_INT32:
		return READ(i32);
	case GGUF_UINT64:
		return READ(u64) > INT64_MAX ? INT64_MAX : (int64_t)x.u64;
	case GGUF_INT64:
		return READ(i64);
	default:
		return 0;               /* (no array of integers) */
	}
#undef READ
}

double
gguf_element_number(const struct gguf_value *a, uint64_t i)
{
	float f;
	double d;

	if (!is_float(a->type))
		return (double)gguf_element_int(a, i);
	if (a->type == GGUF_FLOAT32) {
		memcpy(&f, a->p + i * sizeof(f), sizeof(f));
		return f;
	}
	memcpy(&d, a->p + i * sizeof(d), sizeof(d));
	return d;
}

int
gguf_int(const struct gguf *g, const char *key, enum json_presence presence, int64_t min,
    int64_t max, int64_t *out)
{
	const struct gguf_value *v;
	int got = find(g, key, presence, 0, INTEGERS, &v);
	int64_t n;

	if (got <= 0)
		return got;
	n = gguf_element_int(v, 0);
	if (n < min || n > max)
		return fail(FAIL_DATA, "key '%s' is %lld, must be %lld to %lld", key, (long long)n,
		    (long long)min, (long long)max);
	*out = n;
	return 1;
}

int
gguf_check_first(const struct gguf *g)
{
	int64_t no = 0, count = 1;

	if (gguf_int(g, "split.no", JSON_OPTIONAL, 0, UINT16_MAX, &no) < 0 ||
	    gguf_int(g, "split.count", JSON_OPTIONAL, 0, UINT16_MAX, &count) < 0)
		return -1;
	return no == 0 ? 0 : fail(FAIL_DATA, "part %lld of %lld: give the first, whose name ends "
	    "in '-00001-of-%05lld.gguf'", (long long)no + 1, (long long)count, (long long)count);
}

int
gguf_number(const struct gguf *g, const char *key, enum json_presence presence, double min,
    double max, double *out)
{
	const struct gguf_value *v;
	int got = find(g, key, presence, 0, NUMBERS, &v);
	double d;

	if (got <= 0)
		return got;
	d = gguf_element_number(v, 0);
	if (!isfinite(d) || d < min || d > max)
		return fail(FAIL_DATA, "key '%s' is %g, must be %g to %g", key, d, min, max);
	*out = d;
	return 1;
}

int
gguf_bool(const struct gguf *g, const char *key, enum json_presence presence, int *out)
{
	const struct gguf_value *v;
	int got = find(g, key, presence, 0, TRUTHS, &v);

	if (got > 0)
		*out = *v->p;
	return got;
}

int
gguf_string(const struct gguf *g, const char *key, enum json_presence presence, const char **out,
    size_t *n)
{
	const struct gguf_value *v;
	int got = find(g, key, presence, 0, STRINGS, &v);

	if (got > 0) {
		*out = (const char *)v->p;
		*n = (size_t)v->n;
	}
	return got;
}

int
gguf_ints(const struct gguf *g, const char *key, enum json_presence presence,
    const struct gguf_value **out)
{
	return find(g, key, presence, 1, INTEGERS, out);
}

int
gguf_numbers(const struct gguf *g, const char *key, enum json_presence presence,
    const struct gguf_value **out)
{
	return find(g, key, presence, 1, NUMBERS, out);
}

int
gguf_strings(const struct gguf *g, const char *key, enum json_presence presence,
    const struct gguf_value **out)
{
	return find(g, key, presence, 1, STRINGS, out);
}

const char *
gguf_next_string(const unsigned char **at, size_t *n)
{
	const unsigned char *p = *at;
	uint64_t bytes;

	memcpy(&bytes, p, sizeof(bytes));       /* (it has been checked) */
	*n = (size_t)bytes;
	*at = p + sizeof(bytes) + bytes;
	return (const char *)p + sizeof(bytes);
}
