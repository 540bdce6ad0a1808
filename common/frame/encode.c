/*
 * Frames out: the header as msgpack, padded, with the CRC of all.
 */
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame.h"
#include "frame/frame_internal.h"

static void
pack_text(msgpack_packer *k, const char *s)
{
	msgpack_pack_str(k, strlen(s));
	msgpack_pack_str_body(k, s, strlen(s));
}

static void
pack_spans(msgpack_packer *k, const struct frame *f)
{
	pack_text(k, "spans");
	msgpack_pack_array(k, (size_t)f->nspans);
	for (int i = 0; i < f->nspans; i++) {
		msgpack_pack_array(k, 4);
		msgpack_pack_uint64(k, f->spans[i].seq);
		msgpack_pack_uint32(k, f->spans[i].pos);
		msgpack_pack_uint32(k, f->spans[i].n);
		msgpack_pack_uint32(k, f->spans[i].flags);
	}
}

static void
pack_tensors(msgpack_packer *k, const struct frame *f)
{
	size_t offset = 0;

	pack_text(k, "tensors");
	msgpack_pack_array(k, (size_t)f->ntensors);
	for (int i = 0; i < f->ntensors; i++) {
		const struct tensor *t = &f->tensors[i];

		msgpack_pack_array(k, 4);
		pack_text(k, t->name);
		pack_text(k, dtype_name(t->dtype));
		msgpack_pack_array(k, (size_t)t->rank);
		for (int d = 0; d < t->rank; d++)
			msgpack_pack_uint64(k, t->shape[d]);
		msgpack_pack_uint64(k, offset);
		offset = ALIGN64(offset + t->bytes);
	}
}

static void
pack_seqs(msgpack_packer *k, const struct frame *f)
{
	pack_text(k, "seqs");
	msgpack_pack_map(k, (size_t)f->nseqs);
	for (int i = 0; i < f->nseqs; i++) {
		msgpack_pack_uint64(k, f->seqs[i].seq);
		msgpack_sbuffer_write(k->data, (const char *)f->seqs[i].params, f->seqs[i].n);
	}
}

static void
pack_others(msgpack_packer *k, const struct frame *f)
{
	for (int i = 0; i < f->nothers; i++) {
		const struct frame_key *o = &f->others[i];

		msgpack_sbuffer_write(k->data, (const char *)o->key, o->nkey);
		msgpack_sbuffer_write(k->data, (const char *)o->value, o->nvalue);
	}
}

/* A batch: where it goes, its rows, its tensors, and what travels along.  */
static void
pack_batch(msgpack_packer *k, const struct frame *f)
{
	msgpack_pack_map(k, 4u + (f->layer >= 0) + (f->model[0] != 0) +
	    (f->precision != PRECISION_F32) + (f->cache_type != F32) + (f->nseqs > 0) +
	    (f->experts_done != NULL) + (size_t)f->nothers);
	pack_text(k, "at");
	pack_text(k, f->at_text);
	if (f->layer >= 0) {
		pack_text(k, "layer");
		msgpack_pack_int(k, f->layer);
	}
	pack_spans(k, f);
	pack_tensors(k, f);
	if (f->model[0]) {
		pack_text(k, "model");
		pack_text(k, f->model);
	}
	if (f->precision != PRECISION_F32) {
		pack_text(k, "precision");
		pack_text(k, precision_name(f->precision));
	}
	if (f->cache_type != F32) {
		pack_text(k, "cache_type");
		pack_text(k, cache_type_name(f->cache_type));
	}
	if (f->experts_done) {
		pack_text(k, "experts_done");
		pack_text(k, f->experts_done);
	}
	if (f->nseqs > 0)
		pack_seqs(k, f);
	pack_others(k, f);
}

static void
pack_control(msgpack_packer *k, const struct frame *f)
{
	static const int keys[] = {[OP_END] = 0, [OP_FREE] = 1, [OP_FORK] = 3, [OP_CACHE] = 2,
	    [OP_SAVE] = 4, [OP_LOAD] = 4, [OP_NORM] = 1, [OP_STEP] = 1, [OP_SAVE_WEIGHTS] = 1,
	    [OP_ERROR] = 1, [OP_FAILED] = 2};
	int file = f->op == OP_SAVE || f->op == OP_LOAD;

	msgpack_pack_map(k, 2u + (size_t)keys[f->op] + learn_keys(f) +
	    (f->at == AT_DRAFT) + (size_t)f->nothers);
	if (f->at == AT_DRAFT) {        /* it has come round the loop */
		pack_text(k, "at");
		pack_text(k, at_name(f->at));
	}
	pack_text(k, "op");
	pack_text(k, op_name(f->op));
	if (frame_frees(f) || file) {
		pack_text(k, "seq");
		msgpack_pack_uint64(k, f->seq);
	} else if (f->op == OP_FORK) {
		pack_text(k, "from");
		msgpack_pack_uint64(k, f->from);
		pack_text(k, "to");
		msgpack_pack_uint64(k, f->to);
	}
	if (f->op == OP_FORK || file) {
		pack_text(k, "n");
		msgpack_pack_uint32(k, f->fork_n);
	} else if (f->op == OP_CACHE) {
		pack_text(k, "size");
		msgpack_pack_uint64(k, f->size);
		pack_text(k, "positions");
		msgpack_pack_uint64(k, f->positions);
	}
	if (file) {
		pack_text(k, "key");
		pack_text(k, f->key);
	}
	learn_pack(k, f);
	if (file || op_learns(f->op))
		pack_tensors(k, f);
	if (f->op == OP_ERROR || f->op == OP_FAILED) {
		pack_text(k, "text");
		pack_text(k, f->text);
	}
	pack_others(k, f);
}

/* The string under the key "", so that the payload's data begins at a multiple of 64.  */
static void
pack_padding(msgpack_sbuffer *b)
{
	unsigned char pad[68] = {0xa0};
	size_t at = FRAME_PREAMBLE + b->size + 1 + 5;
	size_t n = ALIGN64(at + 1) - at;        /* bytes of the value: 1 to 64 */

	if (n == 1) {
		pad[1] = 0xa0;
	} else {
		pad[1] = 0xd9;
		pad[2] = (unsigned char)(n - 2);
		memset(pad + 3, ' ', n - 2);
	}
	msgpack_sbuffer_write(b, (const char *)pad, n + 1);
}

static void
put32(unsigned char *p, uint32_t v)
{
	p[0] = (unsigned char)(v >> 24);
	p[1] = (unsigned char)(v >> 16);
	p[2] = (unsigned char)(v >> 8);
	p[3] = (unsigned char)v;
}

size_t
frame_payload(const struct frame *f)
{
	size_t n = 0;

	for (int i = 0; i < f->ntensors; i++)
		n = ALIGN64(n) + f->tensors[i].bytes;
	return n;
}

static uint32_t
crc_payload(uint32_t crc, const struct frame *f)
{
	static const unsigned char zeros[64];

	for (int i = 0; i < f->ntensors; i++) {
		size_t n = f->tensors[i].bytes;

		crc = crc32c(crc, f->tensors[i].data, n);
		if (i + 1 < f->ntensors)
			crc = crc32c(crc, zeros, ALIGN64(n) - n);
	}
	return crc;
}

int
frame_encode(struct frame *f)
{
	msgpack_sbuffer b;
	msgpack_packer k;
	size_t payload = frame_payload(f);
	int status = -1;

	if (payload > FRAME_PAYLOAD_MAX)
		return fail(FAIL_DATA, "a frame of %zu bytes is larger than 4 GiB: use smaller batches", payload);
	for (int i = 0; i < f->ntensors; i++)
		if (frame_fetch(&f->tensors[i]) < 0)
			return -1;
	msgpack_sbuffer_init(&b);
	msgpack_packer_init(&k, &b, msgpack_sbuffer_write);
	if (f->op == OP_NONE)
		pack_batch(&k, f);
	else
		pack_control(&k, f);
	pack_padding(&b);
	free(f->head);
	f->nhead = FRAME_PREAMBLE + b.size + 5;
	f->head = malloc(f->nhead);
	if (b.size > FRAME_HEADER_MAX) {
		fail(FAIL_DATA, "a header of %zu bytes is larger than 1 MiB: use smaller batches", b.size);
	} else if (!f->head) {
		fail(FAIL_SYSTEM, "no memory for a header of %zu bytes", b.size);
	} else {
		memcpy(f->head, "\xd8\x44" "dsf1", 6);
		put32(f->head + 6, (uint32_t)b.size);
		put32(f->head + 10, (uint32_t)payload);
		put32(f->head + 14, crc_payload(crc32c(0, b.data, b.size), f));
		memcpy(f->head + FRAME_PREAMBLE, b.data, b.size);
		f->head[f->nhead - 5] = 0xc6;
		put32(f->head + f->nhead - 4, (uint32_t)payload);
		status = 0;
	}
	msgpack_sbuffer_destroy(&b);
	return status;
}

int
frame_iov(struct frame *f, struct iovec *v)
{
	static const unsigned char zeros[64];
	int n = 0;

	if (!f->changed && f->raw) {
		v[n++] = (struct iovec){f->raw, f->nraw};
		return n;
	}
	if (frame_encode(f) < 0)
		return -1;
	v[n++] = (struct iovec){f->head, f->nhead};
	for (int i = 0; i < f->ntensors; i++) {
		size_t bytes = f->tensors[i].bytes;

		v[n++] = (struct iovec){f->tensors[i].data, bytes};
		if (i + 1 < f->ntensors && ALIGN64(bytes) > bytes)
			v[n++] = (struct iovec){(void *)(uintptr_t)zeros, ALIGN64(bytes) - bytes};
	}
	return n;
}

int
frame_bytes(struct frame *f, struct buf *b)
{
	struct iovec v[FRAME_IOV_MAX];
	int n = frame_iov(f, v);

	for (int i = 0; i < n; i++)
		if (buf_add(b, v[i].iov_base, v[i].iov_len) < 0)
			return -1;
	return n < 0 ? -1 : 0;
}
