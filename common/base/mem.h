/*
 * Memory allocation with checked sizes.
 */
#ifndef DS_MEM_H
#define DS_MEM_H

#include <stddef.h>
#include <stdint.h>

/* *out = a * b. Returns 0, or -1 without a message on overflow. */
static inline int
size_mul(size_t a, size_t b, size_t *out)
{
	return __builtin_mul_overflow(a, b, out) ? -1 : 0;
}

/* Zeroed memory for n objects of `size` bytes, aligned to 64 bytes. Free with free(). Returns
 * NULL and a message on failure. n may be 0. */
void *mem_new(size_t n, size_t size);

/* Like mem_new, but not initialised. */
void *mem_raw(size_t n, size_t size);

/* Make malloc keep freed memory instead of returning it to the system, for the whole process.
 * The next frame needs as much again, and new pages would have to be faulted in and cleared. */
void mem_retain_freed(void);

/* Grow *array, which has room for *cap objects of `size` bytes, to at least `need` objects by
 * doubling. Returns 0, or -1 and a message with *array unchanged. Not aligned to 64 bytes. Free
 * with free(). */
int mem_grow(void *array, size_t *cap, size_t need, size_t size);

/* Format a number of bytes as "12.34 GiB", with at most three digits before the point. Returns
 * to. */
const char *mem_text(double bytes, char to[32]);

/* A growing byte string. Initialise with {0}; free with buf_free(). Functions return 0, or -1
 * and a message. */
struct buf {
	unsigned char *p;
	size_t n, cap;
};

int buf_add(struct buf *b, const void *p, size_t n);
int buf_addc(struct buf *b, int c);
int buf_addf(struct buf *b, const char *fmt, ...)       /* without a terminating NUL */
    __attribute__((format(printf, 2, 3)));
void buf_drop(struct buf *b, size_t n);                 /* remove the first n bytes */
void buf_free(struct buf *b);

#endif
