/*
 * A GGUF file, mapped: its metadata and the infos of its tensors.  Versions 2 and 3, little-endian,
 * as https://github.com/ggml-org/ggml/blob/master/docs/gguf.md describes them.
 *
 *	struct gguf g = {0};
 *	if (gguf_open(&g, path) < 0 ||
 *	    gguf_int(&g, "llama.block_count", JSON_REQUIRED, 1, 1024, &n) < 0)
 *		...
 *	gguf_close(&g);
 *
 * Opening walks the metadata and the infos once; no tensor is touched.  Whatever is found here lies
 * inside the file.  Values, keys and names stay valid until gguf_close().
 */
#ifndef DS_GGUF_H
#define DS_GGUF_H

#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/json.h"
#include "base/table.h"

#define GGUF_RANK_MAX 4

/* The types of values, by their numbers in the file. */
enum gguf_type {
	GGUF_UINT8, GGUF_INT8, GGUF_UINT16, GGUF_INT16, GGUF_UINT32, GGUF_INT32, GGUF_FLOAT32,
	GGUF_BOOL, GGUF_STRING, GGUF_ARRAY, GGUF_UINT64, GGUF_INT64, GGUF_FLOAT64, GGUF_TYPES
};

struct gguf_value {
	char *key;
	enum gguf_type type;            /* of an array: that of its elements */
	int array;
	uint64_t n;                     /* bytes of a string, elements of an array, else 1 */
	const unsigned char *p;         /* first byte, unaligned; of an array's first element */
	const unsigned char *begin, *end;       /* of the pair of key and value in the file */
};

/* How ggml stores numbers: `block` of them in `bytes` bytes. */
struct gguf_format {
	uint32_t number;                /* in the file */
	const char *name;               /* "Q4_K" */
	int block, bytes;
	int dtype;                      /* enum dtype, or -1: unknown to the kernels */
};

struct gguf_tensor {
	char *name;
	const struct gguf_format *format;
	int rank;                       /* 1 to GGUF_RANK_MAX */
	uint64_t dims[GGUF_RANK_MAX];   /* as in the file: dims[0] is the length of a row */
	uint64_t begin, end;            /* bytes of the file */
};

struct gguf {
	struct file_map map;            /* not mapped: gguf_read() */
	int version;
	uint64_t alignment;
	struct gguf_value *values;      /* in the order of the file */
	size_t nvalues;
	struct gguf_tensor *tensors;    /* in the order of their data */
	size_t ntensors;
	struct table keys, names;       /* -> struct gguf_value, struct gguf_tensor */
};

/* 1 if the path of a model is that of a file, and so of a GGUF file; 0 for a folder, or for nothing
 * (no message). */
int gguf_is(const char *path);

/* Map the file of a zeroed *g and check all of its header: counts, lengths, types, duplicate keys
 * and names, alignment, tensors that are misaligned, overlap or reach beyond the file's end.  0, or
 * -1 and a message that names the file and the key or tensor; *g is then zeroed. */
int gguf_open(struct gguf *g, const char *path);
void gguf_close(struct gguf *g);        /* a zeroed *g is fine */

/* The same for a file that is mapped and stays so; messages do not name it. */
int gguf_read(struct gguf *g, const struct file_map *map);
int gguf_begins(const struct file_map *map);    /* as GGUF files do */

/* The value of a key, or the tensor of a name; NULL where there is none (no message). */
const struct gguf_value *gguf_find(const struct gguf *g, const char *key);
struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name);

/* The functions below return 1 and set *out if the key is present.  If it is missing they return 0
 * and leave *out alone, or fail with JSON_REQUIRED.  A wrong type or a value out of range is an
 * error: -1 and a message that names the key; callers add the file with fail_in(). */

/* 0, or -1 and a message where the file is a later part of a model: only the first has metadata. */
int gguf_check_first(const struct gguf *g);

/* Of any integer type; min and max are at most 2^53 from 0. */
int gguf_int(const struct gguf *g, const char *key, enum json_presence presence, int64_t min,
    int64_t max, int64_t *out);
/* Of a float or integer type; finite. */
int gguf_number(const struct gguf *g, const char *key, enum json_presence presence, double min,
    double max, double *out);
int gguf_bool(const struct gguf *g, const char *key, enum json_presence presence, int *out);
/* Not ended by a NUL; any bytes. */
int gguf_string(const struct gguf *g, const char *key, enum json_presence presence,
    const char **out, size_t *n);
/* An array whose elements gguf_element_int(), gguf_element_number() or gguf_next_string() reads:
 * of integers, of floats, or of strings. */
int gguf_ints(const struct gguf *g, const char *key, enum json_presence presence,
    const struct gguf_value **out);
int gguf_numbers(const struct gguf *g, const char *key, enum json_presence presence,
    const struct gguf_value **out);
int gguf_strings(const struct gguf *g, const char *key, enum json_presence presence,
    const struct gguf_value **out);

/* Element i, below a->n.  An unsigned 64-bit number beyond INT64_MAX is INT64_MAX. */
int64_t gguf_element_int(const struct gguf_value *a, uint64_t i);
double gguf_element_number(const struct gguf_value *a, uint64_t i);

/* The strings of an array one after another: *at is a->p before the first, which is read a->n times
 * at most.  Not ended by a NUL. */
const char *gguf_next_string(const unsigned char **at, size_t *n);

/* "Q4_K [64, 256]", the length of a row last, into to, cut where it does not fit; returns to. */
const char *gguf_tensor_describe(const struct gguf_tensor *t, char *to, size_t size);

#endif
