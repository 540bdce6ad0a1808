#include "token/normal.h"

#include <stdlib.h>

#include <utf8proc.h>

#include "base/fail.h"

#define BLOCK 4096

/*
 * Characters newer than the Unicode version with which the tokenizers library normalizes. It
 * neither reorders nor composes them, and utf8proc would. They are passed around it, so that text
 * before and after them is normalized as if it ended there. Up to Unicode 16.
 */
static const uint32_t newer[][2] = {
	{0x7fd, 0x7fd}, {0x897, 0x89f}, {0x8ca, 0x8d3}, {0x9fe, 0x9fe}, {0xc3c, 0xc3c},
	    {0xd3b, 0xd3c},
	{0xeba, 0xeba}, {0x1715, 0x1715}, {0x1abf, 0x1ace}, {0x1df6, 0x1dfa}, {0xa82c, 0xa82c},
	{0x105d2, 0x105d2}, {0x105da, 0x105da}, {0x10d24, 0x10d27}, {0x10d69, 0x10d6d},
	{0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
	{0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11380, 0x113e2}, {0x1145e, 0x1145e},
	{0x11839, 0x1183a}, {0x11930, 0x11930}, {0x1193d, 0x1193e}, {0x11943, 0x11943},
	{0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99},
	{0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
	{0x16100, 0x1613f}, {0x16d40, 0x16d7f}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f},
	{0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef},
	{0x1e5d0, 0x1e5ff},
};

/* The length of the character at p if it is one of these, or 0. */
static size_t
newer_length(const unsigned char *p)
{
	static const unsigned char masks[] = {0x1f, 0x0f, 0x07};
	size_t n = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : *p >= 0xc0 ? 2 : 1;
	uint32_t c = n == 1 ? *p : (uint32_t)(*p & masks[n - 2]);

	for (size_t i = 1; i < n; i++)
		c = c << 6 | (p[i] & 0x3f);
	for (size_t i = 0; c >= newer[0][0] && i < sizeof(newer) / sizeof(*newer); i++)
		if (c >= newer[i][0] && c <= newer[i][1])
			return n;
	return 0;
}

static int
add_nfc(struct buf *to, const unsigned char *p, size_t n)
{
	utf8proc_uint8_t *normal = NULL;
	utf8proc_ssize_t len;
	int r;

	if (n == 0)
		return 0;
	len = utf8proc_map(p, (utf8proc_ssize_t)n, &normal, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	if (len < 0)
		return fail(len == UTF8PROC_ERROR_NOMEM ? FAIL_SYSTEM : FAIL_DATA,
		    "cannot normalize the text: %s",
		    utf8proc_errmsg(len));
	r = buf_add(to, normal, (size_t)len);
	free(normal);
	return r;
}

/* Normalize up to each of the newer characters. */
static int
add_block(struct buf *to, const unsigned char *p, size_t n)
{
	size_t from = 0, len;

	for (size_t i = 0; i < n; i++) {
		if (p[i] < 0xc0 || (len = newer_length(p + i)) == 0)
			continue;
		if (add_nfc(to, p + from, i - from) < 0 || buf_add(to, p + i, len) < 0)
			return -1;
		from = i + len;
		i += len - 1;
	}
	return add_nfc(to, p + from, n - from);
}

int
normal_nfc(struct buf *to, const char *text, size_t n)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t i = 0, from, plain;

	while (i < n && p[i] < 0xcc)    /* below U+0300 nothing changes */
		i++;
	if (i == n)
		return 0;
	for (from = 0; from < n; from = i) {
		/* a block ends before an ASCII character, which joins nothing before it */
		for (plain = 1, i = from; i < n && (i - from < BLOCK || p[i] >= 0x80); i++)
			plain &= p[i] < 0xcc;
		if ((plain ? buf_add(to, p + from, i - from) :
		    add_block(to, p + from, i - from)) < 0)
			return -1;
	}
	return 1;
}
