/*
 * The preamble of a frame, and the CRC of the bytes that it covers.
 */
#include <string.h>

#include "base/fail.h"
#include "frame/frame.h"
#include "frame/frame_internal.h"

int
frame_begins(const unsigned char *p, size_t n)
{
	static const unsigned char magic[] = {0xd8, 0x44, 'd', 's', 'f'};

	return memcmp(p, magic, n < sizeof(magic) ? n : sizeof(magic)) == 0 ? 0 :
	    fail(FAIL_DATA, "not a frame: the preamble is not d8 44 'dsf1'");
}

size_t
frame_size(const unsigned char *p)
{
	uint32_t header = frame_get32(p + 6);

	if (frame_begins(p, FRAME_PREAMBLE) < 0)
		return 0;
	if (p[5] != '1') {
		fail(FAIL_DATA, "a frame of version '%c'; this program reads version 1", p[5]);
		return 0;
	}
	if (header == 0 || header > FRAME_HEADER_MAX) {
		fail(FAIL_DATA, "the preamble claims a header of %u bytes, the limit is %u", header,
		    FRAME_HEADER_MAX);
		return 0;
	}
	return (size_t)FRAME_PREAMBLE + header + 5 + frame_get32(p + 10);
}

int
frame_check_prefix(const unsigned char *p)
{
	size_t data = (size_t)FRAME_PREAMBLE + frame_get32(p + 6) + 5;

	if (p[data - 5] != 0xc6 || frame_get32(p + data - 4) != frame_get32(p + 10))
		return fail(FAIL_DATA,
		    "the payload's bin32 length is not the preamble's %u bytes", frame_get32(p + 10));
	if (data % 64 != 0)
		return fail(FAIL_DATA,
		    "the payload's data starts at byte %zu, not at a multiple of 64", data);
	return 0;
}

/* Continue the CRC over the bytes from..to that lie in low..high.  */
static uint32_t
crc_within(uint32_t crc, const unsigned char *p, size_t from, size_t to, size_t low, size_t high)
{
	from = from > low ? from : low;
	to = to < high ? to : high;
	return from < to ? crc32c(crc, p + from, to - from) : crc;
}

uint32_t
frame_crc(uint32_t crc, const unsigned char *p, size_t from, size_t to)
{
	size_t header = (size_t)FRAME_PREAMBLE + frame_get32(p + 6);

	crc = crc_within(crc, p, from, to, FRAME_PREAMBLE, header);
	return crc_within(crc, p, from, to, header + 5, to);
}
