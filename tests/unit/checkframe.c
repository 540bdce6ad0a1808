/*
 * checkframe [ROUNDS [SEED]]: frames in memory, in TAP.  Encoding and parsing give back what
 * went in; CRC-32C is the standard's; and frames whose headers were
 * mutated (lengths and CRC put right again, so that the parser meets what lies
 * behind them) are refused with a message or mean the same once encoded anew.
 */
/* check: yes */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"
#include "frame/frame.h"
#include "frame/learn.h"
#include "inspect/dump/dump.h"

#define SEEDS 13

static int points, failures;

static int
point(int good, const char *name)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++points, name);
	failures += !good;
	return good;
}

static uint64_t state = 1;

static uint32_t
random_below(uint32_t n)                /* xorshift64*: the same numbers on each machine */
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 0x2545f4914f6cdd1dull >> 32) * n >> 32);
}

static int
parse_bytes(struct frame *f, const unsigned char *p, size_t n)
{
	unsigned char *raw = mem_raw(n, 1);

	if (!raw)
		return -1;
	memcpy(raw, p, n);
	return frame_parse(f, raw, n);
}

static void
fill(struct tensor *t)
{
	if (!t)
		abort();
	for (size_t i = 0; i < t->bytes; i++)
		((unsigned char *)t->data)[i] = (unsigned char)(i * 7 + 1);
}

/* A control frame of learning; a `save` of the gradients, then of the state. */
static int
make_learning(struct frame *f, enum op op, enum save what)
{
	uint64_t shape[2] = {2, 3};

	f->op = op;
	f->step = (struct frame_step){.t = 3, .weight = 0.1, .rate = 1e-5, .beta1 = 0.9,
	    .beta2 = 0.95, .eps = 1e-8, .decay = 0, .bias1 = 1 - 0.9 * 0.9 * 0.9, .bias2 = 1,
	    .factor = 1.0 / 3, .balance = 1e-3, .folder = "out/step 3", .what = what};
	fill(frame_add(f, "grad.mlp_norm", I64, 2, shape));
	return frame_append(f, "squares", "\x93\xa1x\x01\x02", 5);
}

/* Frames of each kind; kind < SEEDS. */
static int
make_seed(struct frame *f, int kind)
{
	static const struct span spans[] = {{7, 0, 3, 1}, {UINT64_MAX, 300, 2, 2}, {8, 70000, 0, 4}};
	static const unsigned char params[] = {0x81, 0xa6, 'g', 'r', 'e', 'e', 'd', 'y', 0xc3};
	struct frame_seq seq = {UINT64_MAX, params, sizeof(params)};
	uint64_t wide[2] = {5, 6};

	frame_init(f);
	f->changed = 1;
	if (kind >= 9)
		return make_learning(f, kind == 9 ? OP_NORM : kind == 10 ? OP_STEP :
		    OP_SAVE_WEIGHTS, kind == 11 ? SAVE_GRADIENTS : SAVE_STATE);
	if (kind >= 4) {                /* control frames */
		f->op = kind == 4 ? OP_END : kind == 5 ? OP_FREE : kind == 6 ? OP_FORK : kind == 7 ? OP_ERROR : OP_FAILED;
		f->seq = 1ull << 63;
		f->from = 3, f->to = 1000, f->fork_n = 77;
		return kind == 7 ? frame_set_text(f, "a stage fails: why \"it\" did\xff") :
		    kind == 8 ? frame_set_failed(f, UINT64_MAX, "too long\xff") : 0;
	}
	if (frame_set_spans(f, spans, 3) < 0)
		return -1;
	frame_set_at(f, kind == 0 ? AT_EMBED : kind == 1 ? AT_ATTN : kind == 2 ? AT_EXPERT : AT_SAMPLE,
	    kind == 1 || kind == 2 ? 3 : -1);
	fill(frame_add(f, "ids", I32, 1, wide));
	if (kind == 1 || kind == 2)
		fill(frame_add(f, "h", F32, 2, wide));
	if (kind == 2) {
		fill(frame_add(f, "expert.acc", I64, 2, wide));
		fill(frame_add(f, "other", BF16, 0, NULL));
		if (frame_set_done(f, "0-7,s") < 0)
			return -1;
	}
	if (kind == 3) {
		wide[0] = 0;
		fill(frame_add(f, "logits", F32, 2, wide));
		fill(frame_add(f, "row", I32, 1, wide));
	}
	memcpy(f->model, kind == 0 ? "" : "0123456789abcdef", kind == 0 ? 1 : 17);
	f->precision = kind == 2 ? PRECISION_BF16 : PRECISION_F32;
	return kind == 0 ? frame_add_seq(f, &seq) : 0;
}

static int
same_batch(struct frame *a, struct frame *b)
{
	if (strcmp(a->at_text, b->at_text) != 0 || a->layer != b->layer || strcmp(a->model, b->model) != 0 || a->precision != b->precision ||
	    a->nspans != b->nspans || a->rows != b->rows || a->ntensors != b->ntensors ||
	    a->nseqs != b->nseqs || a->nothers != b->nothers || !a->experts_done != !b->experts_done ||
	    (a->experts_done && strcmp(a->experts_done, b->experts_done) != 0) ||
	    (a->nspans > 0 && memcmp(a->spans, b->spans, (size_t)a->nspans * sizeof(*a->spans)) != 0))
		return 0;
	for (int i = 0; i < a->ntensors; i++) {
		struct tensor *s = &a->tensors[i], *t = &b->tensors[i];

		if (strcmp(s->name, t->name) != 0 || s->dtype != t->dtype || s->rank != t->rank || s->bytes != t->bytes ||
		    memcmp(s->shape, t->shape, (size_t)s->rank * sizeof(s->shape[0])) != 0 ||
		    memcmp(s->data, t->data, s->bytes) != 0)
			return 0;
	}
	for (int i = 0; i < a->nseqs; i++)
		if (a->seqs[i].seq != b->seqs[i].seq || a->seqs[i].n != b->seqs[i].n ||
		    memcmp(a->seqs[i].params, b->seqs[i].params, a->seqs[i].n) != 0)
			return 0;
	for (int i = 0; i < a->nothers; i++)
		if (a->others[i].nkey != b->others[i].nkey || a->others[i].nvalue != b->others[i].nvalue ||
		    memcmp(a->others[i].key, b->others[i].key, a->others[i].nkey) != 0 ||
		    memcmp(a->others[i].value, b->others[i].value, a->others[i].nvalue) != 0)
			return 0;
	return 1;
}

static int
same_frame(struct frame *a, struct frame *b)
{
	if (a->op != b->op)
		return 0;
	switch (a->op) {
	case OP_NONE:
		return same_batch(a, b);
	case OP_FREE:
		return a->seq == b->seq;
	case OP_FORK:
		return a->from == b->from && a->to == b->to && a->fork_n == b->fork_n;
	case OP_FAILED:
		return a->seq == b->seq && strcmp(a->text, b->text) == 0;
	case OP_ERROR:
		return strcmp(a->text, b->text) == 0;
	case OP_NORM:
	case OP_STEP:
	case OP_SAVE_WEIGHTS:
		return frame_same_step(a, b) && same_batch(a, b);
	default:
		return 1;
	}
}

/* Encoded as if something had been changed, and parsed again, it is the same frame. */
static int
survives(struct frame *f)
{
	struct frame g;
	struct buf b = {0};
	int same;

	f->changed = 1;
	frame_init(&g);
	same = frame_bytes(f, &b) == 0 && parse_bytes(&g, b.p, b.n) == 0 && same_frame(f, &g);
	frame_free(&g);
	buf_free(&b);
	return same;
}

static void
check_round_trips(void)
{
	static const char *const names[SEEDS] = {"a prompt", "rows for attention", "rows for experts",
	    "a frame without wanted logits", "end", "free", "fork", "error",
	    "the error of a sequence", "norm", "step", "a save of gradients",
	    "a save of the state"};
	char text[128];

	struct frame e;

	point(make_seed(&e, 7) == 0 && strcmp(e.text, "a stage fails: why \"it\" did\xef\xbf\xbd") == 0,
	    "a message in bytes that are no UTF-8 becomes one that is");
	frame_free(&e);
	for (int i = 0; i < SEEDS; i++) {
		struct frame f;

		snprintf(text, sizeof(text), "%s comes back as it was", names[i]);
		point(make_seed(&f, i) == 0 && survives(&f), text);
		frame_free(&f);
	}
}

static void
check_crc(void)
{
	unsigned char p[1000], zeros[32] = {0};
	uint32_t whole, parts = 0;
	int bad = 0;

	for (int i = 0; i < 1000; i++)
		p[i] = (unsigned char)random_below(256);
	point(crc32c(0, "123456789", 9) == 0xe3069283, "CRC-32C of nine digits is the standard's");
	point(crc32c(0, zeros, 32) == 0x8a9136aa, "CRC-32C of 32 zeros is that of RFC 3720");
	whole = crc32c(0, p, sizeof(p));
	for (size_t at = 0; at <= sizeof(p); at++)
		bad += crc32c(crc32c(0, p, at), p + at, sizeof(p) - at) != whole;
	for (size_t i = 0; i < sizeof(p); i++)
		parts = crc32c(parts, p + i, 1);
	point(bad == 0 && parts == whole, "CRC-32C goes on where it was interrupted, at each byte");
}

/* A backward pass through a model of two layers. */
static void
check_back(void)
{
	static const struct { enum at at; int layer; } way[] = {{AT_HEAD_BACK, -1},
	    {AT_EXPERT_BACK, 1}, {AT_ROUTE_BACK, 1}, {AT_ATTN_BACK, 1}, {AT_EXPERT_BACK, 0},
	    {AT_ROUTE_BACK, 0}, {AT_ATTN_BACK, 0}, {AT_EMBED_BACK, -1},
	    {AT_LEARN, -1}, {AT_LEARN, -1}};
	enum at at = AT_HEAD_BACK;
	int layer = -1, wrong = 0;

	for (size_t i = 0; i < sizeof(way) / sizeof(way[0]); i++) {
		wrong += at != way[i].at || layer != way[i].layer || !at_is_back(at) ||
		    at_parse(at_name(at), strlen(at_name(at))) != at;
		at_back_next(&at, &layer, 2);
	}
	for (at = AT_NONE; at <= AT_OTHER; at++)
		wrong += at_is_back(at);
	point(wrong == 0, "a backward pass goes from the head through the layers to the embedding");
}

/* Values of the key `learn` that are refused. */
static void
check_learn(void)
{
	static const struct { const char *value; size_t n; } bad[] = {
	    {"\x07", 1}, {"\x80", 1}, {"\x81\xa2id\xff", 5}, {"\x82\xa2id\x01\xa5score\x01", 12},
	    {"\x82\xa2id\x01\xa4" "beta\xff", 11}, {"\x82\xa2id\x01\xa4" "clip\x91\x01", 12},
	    {"\x82\xa2id\x01\xa4" "clip\x92\xff\x01", 13}};
	static const char good[] = "\x85\xa2id\x07\xa4" "clip\x92\xca\x3e\x80\0\0\x01\xa4"
	    "beta\x02\xa5score\xc3\xa4more\xc0";
	struct frame_learn l;
	struct frame f;
	int taken = 0;

	frame_init(&f);
	point(frame_learn(&f, &l) == 0, "a frame need not have the key learn");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		taken += frame_set_other(&f, "learn", bad[i].value, bad[i].n) < 0 ||
		    frame_learn(&f, &l) >= 0;
	point(taken == 0, "values of the key learn that mean nothing are refused");
	point(frame_set_other(&f, "learn", good, sizeof(good) - 1) == 0 &&
	    frame_learn(&f, &l) == 1 && l.id == 7 && l.has_clip && l.clip[0] == 0.25 &&
	    l.clip[1] == 1 && l.beta == 2 && l.score,
	    "the key learn is read, keys of later versions are not");
	frame_free(&f);
}

/* Numbers beyond their limits. */
static void
check_numbers(void)
{
	static const struct { size_t offset; double v; } bad[] = {
	    {offsetof(struct frame_step, weight), 0}, {offsetof(struct frame_step, weight), NAN},
	    {offsetof(struct frame_step, rate), -1e-300},
	    {offsetof(struct frame_step, rate), INFINITY},
	    {offsetof(struct frame_step, factor), 1.0001}, {offsetof(struct frame_step, bias1), 0}};
	int taken = 0;

	for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
		struct frame f;

		if (make_seed(&f, 10) < 0)
			abort();
		if (i < sizeof(bad) / sizeof(bad[0]))
			memcpy((char *)&f.step + bad[i].offset, &bad[i].v, sizeof(double));
		else
			f.step.t = 0;
		taken += survives(&f);
		frame_free(&f);
	}
	point(taken == 0, "a step whose numbers are beyond their limits is refused");
}

/* --- mutation --- */

static void
put32(unsigned char *p, size_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static size_t
get32(const unsigned char *p)
{
	return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* A frame with this header (its padding taken off) and data, lengths and CRC right. */
static void
assemble(struct buf *b, const struct buf *header, const unsigned char *data, size_t ndata)
{
	unsigned char preamble[FRAME_PREAMBLE] = {0xd8, 0x44, 'd', 's', 'f', '1'}, prefix[5] = {0xc6}, pad[66] = {0xa0, 0xd9};
	size_t n = header->n + 3, more = (64 - (FRAME_PREAMBLE + n + 5) % 64) % 64;
	uint32_t crc;

	pad[2] = (unsigned char)more;
	memset(pad + 3, ' ', sizeof(pad) - 3);
	crc = crc32c(crc32c(crc32c(0, header->p, header->n), pad, 3 + more), data, ndata);
	put32(preamble + 6, n + more);
	put32(preamble + 10, ndata);
	put32(preamble + 14, crc);
	put32(prefix + 1, ndata);
	b->n = 0;
	if (buf_add(b, preamble, FRAME_PREAMBLE) < 0 || buf_add(b, header->p, header->n) < 0 ||
	    buf_add(b, pad, 3 + more) < 0 || buf_add(b, prefix, 5) < 0 || buf_add(b, data, ndata) < 0)
		abort();
}

/* One change of the bytes: a bit, a byte that msgpack gives a meaning, bytes away, bytes from elsewhere. */
static void
mutate(struct buf *h, const struct buf *from)
{
	static const unsigned char telling[] = {0, 1, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xc4, 0xc6,
	    0xc7, 0xc9, 0xca, 0xcb, 0xcc, 0xcf, 0xd0, 0xd3, 0xd4, 0xd8, 0xd9, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xff};
	size_t at = random_below((uint32_t)h->n), n = 1 + random_below(12), start;

	switch (random_below(5)) {
	case 0:
		h->p[at] ^= (unsigned char)(1 << random_below(8));
		break;
	case 1:
		h->p[at] = telling[random_below(sizeof(telling))];
		break;
	case 2:
		h->p[at] = (unsigned char)(h->p[at] + (random_below(2) ? 1 : 255));
		break;
	case 3:
		if (at + n < h->n) {
			memmove(h->p + at, h->p + at + n, h->n - at - n);
			h->n -= n;
		}
		break;
	default:                        /* in front of what is there */
		start = random_below((uint32_t)from->n);
		n = n < from->n - start ? n : from->n - start;
		if (mem_grow(&h->p, &h->cap, h->n + n, 1) < 0)
			abort();
		memmove(h->p + at + n, h->p + at, h->n - at);
		memcpy(h->p + at, from->p + start, n);
		h->n += n;
	}
}

/* What a frame that was taken must be. */
static int
sound(struct frame *f)
{
	uint64_t rows = 0;
	unsigned sum = 0;

	for (int i = 0; i < f->nspans; i++)
		rows += f->spans[i].n;
	for (int i = 0; i < f->ntensors; i++) {
		struct tensor *t = &f->tensors[i];
		size_t bytes = dtype_size(t->dtype);

		for (int d = 0; d < t->rank; d++)
			bytes *= t->shape[d];
		if (bytes != t->bytes || (uintptr_t)t->data % 64 != 0)
			return 0;
		for (size_t k = 0; k < bytes; k++)      /* ASan looks on */
			sum += ((unsigned char *)t->data)[k];
	}
	return rows == f->rows && sum < UINT32_MAX;
}

static FILE *null;
static unsigned taken, refused;

static const char *
try_bytes(const unsigned char *p, size_t n)
{
	struct frame f;
	const char *wrong = NULL;

	frame_init(&f);
	if (parse_bytes(&f, p, n) < 0) {
		refused++;
		if (fail_status() != FAIL_DATA || !fail_text()[0] || strchr(fail_text(), '\n'))
			wrong = "refused without a reason in one line";
	} else {
		taken++;
		for (int d = DUMP_TEXT; d <= DUMP_IDS; d++) {
			struct dump dump = {.format = (enum dump_format)d, .to = null};

			(void)dump_frame(&dump, &f, 1);
			dump_free(&dump);
		}
		if (!sound(&f))
			wrong = "taken with tensors that are not there";
		else if (f.op != OP_OTHER && !survives(&f))
			wrong = "another frame when encoded again";
	}
	frame_free(&f);
	return wrong;
}

static void
show_bytes(const struct buf *b, unsigned round, const char *wrong)
{
	printf("# round %u: %s: %s\n# ", round, wrong, fail_text());
	for (size_t i = 0; i < b->n; i++)
		printf("%02x", b->p[i]);
	putchar('\n');
}

static void
check_mutations(unsigned rounds)
{
	struct buf whole[SEEDS] = {{0}}, header[SEEDS] = {{0}}, h = {0}, b = {0};
	unsigned bad = 0;

	for (int i = 0; i < SEEDS; i++) {
		struct frame f;
		size_t n;

		if (make_seed(&f, i) < 0 || frame_bytes(&f, &whole[i]) < 0)
			abort();
		frame_free(&f);
		for (n = get32(whole[i].p + 6); whole[i].p[FRAME_PREAMBLE + n - 1] == ' '; n--)
			;
		n -= whole[i].p[FRAME_PREAMBLE + n - 1] == 0xa0 ? 2 : 3;        /* key, length */
		if (buf_add(&header[i], whole[i].p + FRAME_PREAMBLE, n) < 0)
			abort();
	}
	for (unsigned r = 0; r < rounds && bad < 3; r++) {
		int i = (int)random_below(SEEDS);
		size_t n = get32(whole[i].p + 10);
		const char *wrong;

		h.n = b.n = 0;
		if (random_below(8) == 0) {     /* as it may come from a broken line */
			if (buf_add(&b, whole[i].p, whole[i].n) < 0)
				abort();
			mutate(&b, &whole[random_below(SEEDS)]);
		} else {
			if (buf_add(&h, header[i].p, header[i].n) < 0)
				abort();
			for (uint32_t k = random_below(3) + 1; k > 0; k--)
				mutate(&h, &header[random_below(SEEDS)]);
			assemble(&b, &h, whole[i].p + whole[i].n - n, n);
		}
		if ((wrong = try_bytes(b.p, b.n)) != NULL) {
			show_bytes(&b, r, wrong);
			bad++;
		}
	}
	printf("# %u mutated frames were taken, %u refused\n", taken, refused);
	point(bad == 0, "a mutated frame is refused with a reason, or taken for what it says");
	point(taken * 20 > rounds && refused * 20 > rounds, "the mutations reach both ends");
	for (int i = 0; i < SEEDS; i++) {
		buf_free(&whole[i]);
		buf_free(&header[i]);
	}
	buf_free(&h);
	buf_free(&b);
}

/* Each byte of each frame changed: nothing is taken that differs. */
static void
check_flips(void)
{
	unsigned slipped = 0;

	for (int i = 0; i < SEEDS; i++) {
		struct frame f, g;
		struct buf b = {0};

		if (make_seed(&f, i) < 0 || frame_bytes(&f, &b) < 0)
			abort();
		frame_init(&g);
		for (size_t at = 0; at < b.n; at++) {
			b.p[at] ^= (unsigned char)(1 << random_below(8));
			slipped += parse_bytes(&g, b.p, b.n) == 0;
			frame_free(&g);
			b.n = 0;
			if (frame_bytes(&f, &b) < 0)
				abort();
		}
		for (size_t n = 0; n < b.n; n++)
			slipped += parse_bytes(&g, b.p, n) == 0;
		frame_free(&g);
		frame_free(&f);
		buf_free(&b);
	}
	point(slipped == 0, "a frame cut or with a bit turned at any byte is refused");
}

int
main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 200000;

	state = argc > 2 ? strtoull(argv[2], NULL, 10) | 1 : 0x9e3779b97f4a7c15ull;
	if (!(null = fopen("/dev/null", "w")))
		abort();
	check_back();
	check_learn();
	check_numbers();
	check_crc();
	check_round_trips();
	check_flips();
	check_mutations(rounds);
	fclose(null);
	printf("1..%d\n", points);
	return failures > 0;
}
