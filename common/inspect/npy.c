#include "inspect/npy.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "inspect/rows.h"

#define HEADER_MAX 65536
#define MAGIC "\x93NUMPY"

/* The value of 'key' in a header, which is a Python dictionary, or NULL. */
static const char *
value_of(const char *header, const char *key)
{
	const char *p = strstr(header, key);

	if (!p)
		return NULL;
	p += strlen(key);
	p += strspn(p, " ");
	if (*p++ != ':')
		return NULL;
	return p + strspn(p, " ");
}

static int
parse_dtype(struct npy *a, const char *p)
{
	static const struct {
		const char *descr;
		enum dtype dtype;
	} known[] = {{"'<f8'", ROW_F64}, {"'<f4'", F32}, {"'<f2'", F16}, {"'<i4'", I32},
	    {"'<i8'", I64}, {"'|u1'", U8}};

	for (size_t i = 0; p && i < sizeof(known) / sizeof(known[0]); i++)
		if (strncmp(p, known[i].descr, 5) == 0) {
			a->dtype = known[i].dtype;
			return 0;
		}
	return fail(FAIL_DATA,
	    "its type is %.*s: '<f8', '<f4', '<f2', '<i4', '<i8' and '|u1' are supported",
	    p ? (int)strcspn(p, ",}\n") : 7, p ? p : "missing");
}

static int
parse_shape(struct npy *a, const char *p)
{
	if (!p || *p++ != '(')
		return fail(FAIL_DATA, "its header has no shape");
	for (a->rank = 0;; a->rank++) {
		char *end;

		p += strspn(p, " ");
		if (*p == ')')
			return 0;
		if (!isdigit((unsigned char)*p) || a->rank == NPY_RANK_MAX)
			return fail(FAIL_DATA, "its shape is not a tuple of at most %d sizes", NPY_RANK_MAX);
		a->shape[a->rank] = strtoull(p, &end, 10);
		p = end + strspn(end, " ");
		if (*p == ',')
			p++;
		else if (*p != ')')
			return fail(FAIL_DATA, "its shape is not a tuple of at most %d sizes", NPY_RANK_MAX);
	}
}

static int
check_size(struct npy *a, const unsigned char *p, size_t n)
{
	size_t bytes = row_size(a->dtype);

	for (int i = 0; i < a->rank; i++)
		if (size_mul(bytes, a->shape[i], &bytes) < 0)
			return fail(FAIL_DATA, "its shape is too large");
	if (n - a->data >= sizeof(MAGIC) && bytes <= n - a->data - sizeof(MAGIC) &&
	    memcmp(p + a->data + bytes, MAGIC, sizeof(MAGIC) - 1) == 0)
		return fail(FAIL_DATA,
		    "it holds more than one array: give a file for each (ds-dump --dir)");
	if (bytes != n - a->data)
		return fail(FAIL_DATA, "its shape needs %zu bytes, the file has %zu", bytes, n - a->data);
	a->bytes = bytes;
	return 0;
}

static int
parse_header(struct npy *a, const char *header, const unsigned char *p, size_t n)
{
	const char *order = value_of(header, "'fortran_order'");

	if (parse_dtype(a, value_of(header, "'descr'")) < 0)
		return -1;
	if (!order || strncmp(order, "False", 5) != 0)
		return fail(FAIL_DATA, "its array is not in C order");
	return parse_shape(a, value_of(header, "'shape'")) < 0 ? -1 : check_size(a, p, n);
}

int
npy_parse(struct npy *a, const unsigned char *p, size_t n)
{
	size_t prefix, len;
	char *header;
	int r;

	if (n < 12 || memcmp(p, MAGIC, sizeof(MAGIC) - 1) != 0 || p[6] < 1 || p[6] > 3)
		return fail(FAIL_DATA, "not an npy file of version 1 to 3");
	prefix = p[6] == 1 ? 10 : 12;
	len = p[8] | (size_t)p[9] << 8 | (p[6] == 1 ? 0 : (size_t)p[10] << 16 | (size_t)p[11] << 24);
	if (len > HEADER_MAX || len > n - prefix)
		return fail(FAIL_DATA, "its header of %zu bytes does not end in the file", len);
	a->data = prefix + len;
	if (!(header = mem_raw(len + 1, 1)))
		return -1;
	memcpy(header, p + prefix, len);
	header[len] = '\0';
	r = parse_header(a, header, p, n);
	free(header);
	return r;
}
