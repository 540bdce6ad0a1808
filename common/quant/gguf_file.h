/*
 * A GGUF file that is written: metadata, the infos of its tensors, then their bytes in any order.
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 *
 *	struct gguf_file f = {.fd = -1};
 *	gguf_put_int(&f, "llama.block_count", 30);
 *	gguf_put_tensor(&f, "output.weight", BF16, 2, (uint64_t[]){576, 49152});
 *	if (gguf_file_create(&f, path) < 0 ||
 *	    gguf_file_write(&f, &f.tensors[0], 0, p, n) < 0)
 *		...
 *	gguf_file_close(&f, done);
 */
#ifndef DS_GGUF_FILE_H
#define DS_GGUF_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "kernels.h"
#include "weights/gguf.h"

struct gguf_file_tensor {
	char name[64];
	enum dtype dtype;
	uint64_t at, bytes;             /* from the beginning of the data */
};

struct gguf_file {
	struct buf values, infos;       /* as in the file */
	uint64_t nvalues;
	struct gguf_file_tensor *tensors;
	size_t ntensors, cap;
	uint64_t data, bytes;           /* where the data begins; its bytes */
	int failed;                     /* a put failed: its message is kept */
	int fd;                         /* -1: not open */
	char *path, *part;              /* the file, and what it is called until it is complete */
};

/* Add a pair of key and value.  Failures are reported by gguf_file_create. */
void gguf_put_int(struct gguf_file *f, const char *key, uint32_t value);
void gguf_put_signed(struct gguf_file *f, const char *key, int32_t value);
void gguf_put_float(struct gguf_file *f, const char *key, float value);
void gguf_put_bool(struct gguf_file *f, const char *key, int value);
void gguf_put_string(struct gguf_file *f, const char *key, const char *s, size_t n);
/* n elements follow, each by one of the functions after it. */
void gguf_put_array(struct gguf_file *f, const char *key, enum gguf_type type, uint64_t n);
void gguf_put_element_string(struct gguf_file *f, const char *s, size_t n);
void gguf_put_element_int(struct gguf_file *f, int32_t value);
/* A pair as another file has it. */
void gguf_put_value(struct gguf_file *f, const struct gguf_value *v);

/* Add a tensor; dims[0] is the length of a row, a multiple of the dtype's block. */
void gguf_put_tensor(struct gguf_file *f, const char *name, enum dtype dtype, int rank,
    const uint64_t dims[]);

/* Append the header to b, up to where the data begins: f->bytes follow.  0, or -1 and a message. */
int gguf_file_header(struct gguf_file *f, struct buf *b);

/* Create the file under another name and write its header.  A file of that name must not exist.
 * 0, or -1 and a message. */
int gguf_file_create(struct gguf_file *f, const char *path);

/* Write n bytes at byte `at` of a tensor.  0, or -1 and a message. */
int gguf_file_write(struct gguf_file *f, const struct gguf_file_tensor *t, uint64_t at,
    const void *p, size_t n);

/* done: give the file its name; else remove it.  Frees in any case.  0, or -1 and a message. */
int gguf_file_close(struct gguf_file *f, int done);

#endif
