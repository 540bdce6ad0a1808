#include "token/alphabet.h"

#include <stdint.h>

/* The byte that a character of GPT-2's alphabet stands for, or -1. Printable ASCII and Latin-1
 * stand for themselves; the other bytes, in order, are U+0100 and up. */
static int
alphabet_byte(uint32_t c)
{
	static const unsigned char others[] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
		31, 32, 127, 128, 129, 130, 131, 132, 133, 134, 135, 136, 137, 138, 139, 140, 141, 142, 143, 144, 145, 146, 147,
		148, 149, 150, 151, 152, 153, 154, 155, 156, 157, 158, 159, 160, 173,
	};

	if ((c > 32 && c < 127) || (c > 160 && c < 256 && c != 173))
		return (int)c;
	return c >= 256 && c - 256 < sizeof(others) ? others[c - 256] : -1;
}

ptrdiff_t
alphabet_bytes(char *to, const char *s, size_t *space)
{
	char *start = to;

	for (; *s; s++) {
		uint32_t c = (unsigned char)*s;
		int byte;

		if (c == ' ' && space && *space == SIZE_MAX) {
			*space = (size_t)(to - start);
			continue;
		}
		if (c >= 0xc0 && c < 0xe0)                  /* two bytes suffice for the alphabet */
			c = (c & 0x1f) << 6 | (*++s & 0x3f);
		else if (c >= 0x80)
			return -1;
		byte = alphabet_byte(c);
		if (byte < 0)
			return -1;
		*to++ = (char)byte;
	}
	return to - start;
}
