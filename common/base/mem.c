#include "base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

void *
mem_raw(size_t n, size_t size)
{
	size_t bytes;
	void *p = NULL;

	if (size_mul(n, size, &bytes) == 0 && bytes <= SIZE_MAX - 64)
		p = aligned_alloc(64, (bytes + 64) & ~(size_t)63);
	if (!p)
		fail(FAIL_SYSTEM, "no memory for %zu objects of %zu bytes", n, size);
	return p;
}

void *
mem_new(size_t n, size_t size)
{
	void *p = mem_raw(n, size);

	return p ? memset(p, 0, n * size) : NULL;
}

void
mem_retain_freed(void)
{
	(void)mallopt(M_MMAP_THRESHOLD, 32 << 20);  /* the largest threshold that mallopt accepts */
	(void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
}

int
mem_grow(void *array, size_t *cap, size_t need, size_t size)
{
	void *p;                /* *array, of any type */
	size_t want = *cap ? *cap : 8, bytes;

	if (need <= *cap)
		return 0;
	while (want < need && want <= SIZE_MAX / 2)
		want *= 2;
	memcpy(&p, array, sizeof(p));
	if (want < need || size_mul(want, size, &bytes) < 0 || !(p = realloc(p, bytes)))
		return fail(FAIL_SYSTEM, "no memory for %zu objects of %zu bytes", need, size);
	memcpy(array, &p, sizeof(p));
	*cap = want;
	return 0;
}

const char *
mem_text(double bytes, char to[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	int i = 0;

	for (; bytes >= 1000 && i < 5; i++)
		bytes /= 1024;
	snprintf(to, 32, i == 0 ? "%.0f %s" : bytes < 10 ? "%.3f %s" : bytes < 100 ? "%.2f %s" : "%.1f %s", bytes, units[i]);
	return to;
}

int
buf_add(struct buf *b, const void *p, size_t n)
{
	if (n > SIZE_MAX - b->n)
		return fail(FAIL_SYSTEM, "no memory for %zu bytes more", n);
	if (mem_grow(&b->p, &b->cap, b->n + n, 1) < 0)
		return -1;
	if (n > 0)
		if (n > 0)              /* p may be NULL */
		memcpy(b->p + b->n, p, n);
	b->n += n;
	return 0;
}

int
buf_addc(struct buf *b, int c)
{
	unsigned char byte = (unsigned char)c;

	return buf_add(b, &byte, 1);
}

int
buf_addf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || mem_grow(&b->p, &b->cap, b->n + (size_t)n + 1, 1) < 0)
		return n < 0 ? fail(FAIL_SYSTEM, "cannot format:") : -1;
	va_start(ap, fmt);
	vsnprintf((char *)b->p + b->n, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)n;
	return 0;
}

void
buf_drop(struct buf *b, size_t n)
{
	if (n == 0)             /* p may be NULL */
		return;
	memmove(b->p, b->p + n, b->n - n);
	b->n -= n;
}

void
buf_free(struct buf *b)
{
	free(b->p);
	memset(b, 0, sizeof(*b));
}
