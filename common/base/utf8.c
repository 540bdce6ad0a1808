#include "base/utf8.h"

enum utf8
utf8_next(const unsigned char *p, size_t n, size_t *len)
{
	unsigned lo = 0x80, hi = 0xbf;          /* range of the second byte */
	size_t need = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	*len = 1;
	if (need == 0)
		return UTF8_BAD;
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	for (; *len < need; ++*len) {
		if (*len == n)
			return UTF8_SHORT;
		if (p[*len] < lo || p[*len] > hi)
			return UTF8_BAD;
		lo = 0x80;
		hi = 0xbf;
	}
	return UTF8_CHAR;
}

int
utf8_clean(struct buf *to, const void *bytes, size_t n)
{
	const unsigned char *p = bytes;
	size_t good = 0, len;           /* p[0..good) is well-formed and not copied yet */

	while (good < n) {
		if (utf8_next(p + good, n - good, &len) == UTF8_CHAR) {
			good += len;
			continue;
		}
		if (buf_add(to, p, good) < 0 || buf_add(to, UTF8_REPLACEMENT, 3) < 0)
			return -1;
		p += good + len;
		n -= good + len;
		good = 0;
	}
	return buf_add(to, p, good);
}
