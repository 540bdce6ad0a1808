#include "token/alphabet.h"

#include <stdint.h>

/* Printable ASCII and Latin-1 stand for themselves. The other bytes, in order 0 to 32, 127 to 160
 * and 173, are U+0100 and up. */
static int
is_self(uint32_t c)
{
	return (c > 32 && c < 127) || (c > 160 && c < 256 && c != 173);
}

/* The byte that a character stands for, or -1. */
static int
alphabet_byte(uint32_t c)
{
	if (c < 256)
		return is_self(c) ? (int)c : -1;
	c -= 256;
	return c <= 32 ? (int)c : c <= 66 ? (int)c + 127 - 33 : c == 67 ? 173 : -1;
}

static uint32_t
alphabet_character(uint32_t byte)
{
	if (is_self(byte))
		return byte;
	return 256 + (byte <= 32 ? byte : byte == 173 ? 67 : byte - 127 + 33);
}

ptrdiff_t
alphabet_bytes(char *to, const char *s, size_t n, size_t *space)
{
	const char *start = to, *end = s + n;

	for (; s < end; s++) {
		uint32_t c = (unsigned char)*s;
		int byte;

		if (c == ' ' && space && *space == SIZE_MAX) {
			*space = (size_t)(to - start);
			continue;
		}
		/* two bytes suffice for the alphabet */
		if (c >= 0xc2 && c < 0xe0 && s + 1 < end && (s[1] & 0xc0) == 0x80)
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

size_t
alphabet_spell(char *to, const char *bytes, size_t n)
{
	const char *start = to;

	for (size_t i = 0; i < n; i++) {
		uint32_t c = alphabet_character((unsigned char)bytes[i]);

		if (c >= 0x80)
			*to++ = (char)(0xc0 | c >> 6);
		*to++ = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
	}
	return (size_t)(to - start);
}
