/*
 * Memory whose size is computed from outside numbers.
 */
#ifndef DS_MEM_H
#define DS_MEM_H

#include <stddef.h>
#include <stdint.h>

/* *out = a * b; -1 (no message) where it does not fit. */
static inline int
size_mul(size_t a, size_t b, size_t *out)
{
	return __builtin_mul_overflow(a, b, out) ? -1 : 0;
}

/* Zeroed memory for n objects of the given size, aligned to 64 bytes, to be
 * freed with free(); NULL and a message where there is none.  n 0 gives a
 * pointer that may be freed. */
void *mem_new(size_t n, size_t size);

/* Like mem_new, but what it holds is not set: for buffers filled at once. */
void *mem_raw(size_t n, size_t size);

/* For the whole process: memory that is freed is kept for the next frame, which needs as much again.  Given
 * back, each of its pages would have to be fetched from the system and cleared once more. */
void mem_retain_freed(void);

/* *array, of *cap objects of the given size, made to hold at least need
 * (doubling); 0, or -1 and a message, *array then as it was.  Not aligned. */
int mem_grow(void *array, size_t *cap, size_t need, size_t size);

/* "12.34 GiB": bytes in a unit in which they have up to three digits before the point; returns to. */
const char *mem_text(double bytes, char to[32]);

/* A growing string of bytes.  struct buf b = {0}; buf_free() at the end. */
struct buf {
	unsigned char *p;
	size_t n, cap;
};

int buf_add(struct buf *b, const void *p, size_t n);    /* 0, or -1 and a message */
int buf_addc(struct buf *b, int c);
int buf_addf(struct buf *b, const char *fmt, ...)       /* text, without its NUL */
    __attribute__((format(printf, 2, 3)));
void buf_drop(struct buf *b, size_t n);                 /* forget the first n bytes */
void buf_free(struct buf *b);

#endif
