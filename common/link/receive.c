/*
 * Reassembly of a frame that arrives in pieces.
 */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "link/link_internal.h"

#define FIRST_CHUNK (4u << 20)  /* larger sizes are allocated only as the bytes arrive */

static int
grow(struct link *l)
{
	size_t first = l->largest > FIRST_CHUNK ? l->largest : FIRST_CHUNK, want;
	unsigned char *p;

	want = l->need < first ? l->need : first;
	if (want <= l->cap)
		want = l->need / 2 > l->cap ? l->cap * 2 : l->need;
	if (!(p = mem_raw(want, 1)))
		return -1;
	if (l->have > 0)
		memcpy(p, l->frame, l->have);
	free(l->frame);
	l->frame = p;
	l->cap = want;
	return 0;
}

size_t
link_room(struct link *l)
{
	size_t room;

	if (l->need == 0)
		l->need = FRAME_PREAMBLE;
	if (l->have == l->cap && grow(l) < 0)
		return 0;
	room = (l->need < l->cap ? l->need : l->cap) - l->have;
	return room < LINK_CHUNK ? room : LINK_CHUNK;
}

int
link_received(struct link *l, size_t n)
{
	size_t before = l->have, data;

	l->have += n;
	l->bytes += n;
	if (l->have == FRAME_PREAMBLE && before < FRAME_PREAMBLE) {
		l->need = frame_size(l->frame);
		l->crc = 0;
		return l->need ? 0 : fail_in("frame %llu", (unsigned long long)(l->frames - l->before + 1));
	}
	data = FRAME_PREAMBLE + 5 + ((size_t)l->frame[7] << 16 | (size_t)l->frame[8] << 8 | l->frame[9]);
	if (l->have >= data && before < data && frame_check_prefix(l->frame) < 0)
		return fail_in("frame %llu", (unsigned long long)(l->frames - l->before + 1));
	if (before >= FRAME_PREAMBLE)
		l->crc = frame_crc(l->crc, l->frame, before, l->have);
	return 0;
}

int
link_parse(struct link *l, struct frame *f)
{
	unsigned char *raw = l->frame;
	size_t n = l->have;

	l->frame = NULL;        /* the frame's own now, also where it is wrong */
	l->have = l->need = l->cap = 0;
	if (frame_parse_summed(f, raw, n, l->crc) < 0)
		return fail_in("frame %llu", (unsigned long long)(l->frames - l->before + 1));
	l->largest = n > l->largest ? n : l->largest;
	return 1;
}
