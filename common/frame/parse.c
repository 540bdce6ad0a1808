/*
 * Frames in: everything that a frame says is checked before it is used.
 */
#include <limits.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame.h"
#include "frame/frame_internal.h"
#include "frame/text.h"

#define DEPTH_MAX 24            /* msgpack-c itself stops at 32 */

/*
 * The bytes of the msgpack object at p, of at most n; 0 where it is not whole.
 * msgpack-c allocates what a count claims, so the counts are checked here first:
 * an element has at least a byte.
 */
static size_t
object_size(const unsigned char *p, size_t n, int depth)
{
	static const unsigned char fixed[] = { /* 0xc0 to 0xdf: bytes, or what follows in lengths */
		1, 0, 1, 1, 0, 0, 0, 0, 0, 0, 5, 9, 2, 3, 5, 9,
		2, 3, 5, 9, 3, 4, 6, 10, 18, 0, 0, 0, 0, 0, 0, 0};
	size_t at = 1, count, bytes, width;
	int c;

	if (n == 0 || depth > DEPTH_MAX)
		return 0;
	c = p[0];
	if (c < 0x80 || c >= 0xe0)
		return 1;
	if (c >= 0xc0 && fixed[c - 0xc0])
		return fixed[c - 0xc0] <= n ? fixed[c - 0xc0] : 0;
	if (c < 0xc0) {
		bytes = c >= 0xa0 ? c & 31 : 0;
		count = c >= 0xa0 ? 0 : c >= 0x90 ? c & 15 : 2 * (c & 15);
	} else {
		if (c == 0xc1)
			return 0;
		/* bin, ext and str count bytes in 1, 2 or 4; arrays and maps elements in 2 or 4 */
		width = c >= 0xdc ? 2u << (c & 1) : c >= 0xd9 ? 1u << (c - 0xd9) : 1u << ((c - 0xc4) % 3);
		if (n < 1 + width)
			return 0;
		for (bytes = 0; at <= width; at++)
			bytes = bytes << 8 | p[at];
		count = c >= 0xde ? 2 * bytes : c >= 0xdc ? bytes : 0;
		if (c >= 0xdc)
			bytes = 0;
		else if (c >= 0xc7 && c <= 0xc9)
			bytes++;        /* the type of an ext */
	}
	if (bytes > n - at || count > n - at)
		return 0;
	at += bytes;
	for (; count > 0; count--) {
		size_t one = object_size(p + at, n - at, depth + 1);

		if (one == 0)
			return 0;
		at += one;
	}
	return at;
}

/* A text without NUL, kept by the frame.  */
static const char *
get_text(struct frame *f, const msgpack_object *o, const char *what)
{
	if (o->type != MSGPACK_OBJECT_STR || (o->via.str.size > 0 && memchr(o->via.str.ptr, 0, o->via.str.size))) {
		fail(FAIL_DATA, "header: '%s' is not a string", what);
		return NULL;
	}
	return frame_keep(f, o->via.str.ptr, o->via.str.size);
}

static int
get_uint(const msgpack_object *o, uint64_t max, const char *what, uint64_t *out)
{
	*out = o->type == MSGPACK_OBJECT_POSITIVE_INTEGER ? o->via.u64 : 0;
	if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER || *out > max)
		return fail(FAIL_DATA, "header: %s is not an integer from 0 to %llu", what, (unsigned long long)max);
	return 0;
}

static int
get_spans(struct frame *f, const msgpack_object *o)
{
	uint64_t rows = 0;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > FRAME_SPANS_MAX)
		return fail(FAIL_DATA, "header: 'spans' is not an array of at most %d", FRAME_SPANS_MAX);
	f->spans = mem_new(o->via.array.size, sizeof(*f->spans));
	if (!f->spans)
		return -1;
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		const msgpack_object *s = &o->via.array.ptr[i], *v = s->via.array.ptr;
		uint64_t seq, pos, n, flags;

		if (s->type != MSGPACK_OBJECT_ARRAY || s->via.array.size != 4)
			return fail(FAIL_DATA, "header: span %u is not [seq, pos, n, flags]", i);
		if (get_uint(&v[0], UINT64_MAX, "a span's seq", &seq) < 0 ||
		    get_uint(&v[1], FRAME_POS_MAX, "a span's pos", &pos) < 0 ||
		    get_uint(&v[2], FRAME_POS_MAX, "a span's n", &n) < 0 ||
		    get_uint(&v[3], UINT32_MAX, "a span's flags", &flags) < 0)
			return -1;
		rows += n;
		if (pos + n > FRAME_POS_MAX)
			return fail(FAIL_DATA, "header: span %u goes beyond the largest position", i);
		if (rows > FRAME_POS_MAX)
			return fail(FAIL_DATA, "header: spans 0 to %u have more rows than a frame can", i);
		f->spans[i] = (struct span){seq, (uint32_t)pos, (uint32_t)n, (uint32_t)flags};
	}
	f->nspans = (int)o->via.array.size;
	f->rows = (uint32_t)rows;
	return 0;
}

static int
get_tensor(struct frame *f, const msgpack_object *o, size_t payload, struct tensor *t, size_t *offset)
{
	const msgpack_object *v = o->via.array.ptr;
	uint64_t n;
	int dtype;

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size != 4)
		return fail(FAIL_DATA, "header: a tensor is not [name, dtype, shape, offset]");
	if (!(t->name = get_text(f, &v[0], "name of a tensor")))
		return -1;
	if (frame_tensor(f, t->name))
		return fail(FAIL_DATA, "header: tensor '%s' appears twice", t->name);
	if (v[1].type != MSGPACK_OBJECT_STR || (dtype = dtype_parse(v[1].via.str.ptr, v[1].via.str.size)) < 0)
		return fail(FAIL_DATA, "header: tensor '%s' has an unknown dtype", t->name);
	if (v[2].type != MSGPACK_OBJECT_ARRAY || v[2].via.array.size > FRAME_RANK_MAX)
		return fail(FAIL_DATA, "header: the shape of tensor '%s' is not an array of at most %d", t->name, FRAME_RANK_MAX);
	t->dtype = (enum dtype)dtype;
	t->rank = (int)v[2].via.array.size;
	t->bytes = dtype_size(t->dtype);
	for (int d = 0; d < t->rank; d++) {
		if (get_uint(&v[2].via.array.ptr[d], UINT32_MAX, "a tensor's shape", &t->shape[d]) < 0)
			return fail_in("tensor '%s'", t->name);
		if (size_mul(t->bytes, t->shape[d], &t->bytes) < 0)
			return fail(FAIL_DATA, "header: tensor '%s' is too large", t->name);
	}
	if (get_uint(&v[3], FRAME_PAYLOAD_MAX, "a tensor's offset", &n) < 0)
		return fail_in("tensor '%s'", t->name);
	if (n % 64 != 0)
		return fail(FAIL_DATA, "header: tensor '%s' starts at byte %llu, not at a multiple of 64",
		    t->name, (unsigned long long)n);
	if (n > payload || t->bytes > payload - n)
		return fail(FAIL_DATA, "header: tensor '%s' claims bytes %llu to %llu of a payload of %zu", t->name,
		    (unsigned long long)n, (unsigned long long)n + t->bytes, payload);
	*offset = n;
	return 0;
}

static int
by_data(const void *a, const void *b)
{
	const struct tensor *const *s = a, *const *t = b;
	const char *p = (*s)->data, *q = (*t)->data;

	return p != q ? (p > q) - (p < q) : ((*s)->bytes > (*t)->bytes) - ((*s)->bytes < (*t)->bytes);
}

static int
get_tensors(struct frame *f, const msgpack_object *o, unsigned char *data, size_t payload)
{
	const struct tensor *sorted[FRAME_TENSORS_MAX];

	if (o->type != MSGPACK_OBJECT_ARRAY || o->via.array.size > FRAME_TENSORS_MAX)
		return fail(FAIL_DATA, "header: 'tensors' is not an array of at most %d", FRAME_TENSORS_MAX);
	for (uint32_t i = 0; i < o->via.array.size; i++) {
		struct tensor t = {0};
		size_t offset;

		if (get_tensor(f, &o->via.array.ptr[i], payload, &t, &offset) < 0)
			return -1;
		t.data = data + offset;
		f->tensors[f->ntensors] = t;
		sorted[f->ntensors] = &f->tensors[f->ntensors];
		f->ntensors++;
	}
	qsort(sorted, (size_t)f->ntensors, sizeof(sorted[0]), by_data);
	for (int i = 1; i < f->ntensors; i++)
		if ((char *)sorted[i - 1]->data + sorted[i - 1]->bytes > (char *)sorted[i]->data)
			return fail(FAIL_DATA, "header: tensors '%s' and '%s' overlap", sorted[i - 1]->name, sorted[i]->name);
	return 0;
}

/* p: the msgpack bytes of the map's value, for entries that are kept as they came.  */
static int
get_seqs(struct frame *f, const msgpack_object *o, const unsigned char *p, size_t n)
{
	size_t at = p[0] >= 0xde ? p[0] == 0xde ? 3 : 5 : 1;

	if (o->type != MSGPACK_OBJECT_MAP || o->via.map.size > FRAME_SPANS_MAX)
		return fail(FAIL_DATA, "header: 'seqs' is not a map of at most %d", FRAME_SPANS_MAX);
	f->seqs = mem_new(o->via.map.size, sizeof(*f->seqs));
	if (!f->seqs)
		return -1;
	for (uint32_t i = 0; i < o->via.map.size; i++) {
		const msgpack_object_kv *e = &o->via.map.ptr[i];
		uint64_t seq;

		if (get_uint(&e->key, UINT64_MAX, "a key of 'seqs'", &seq) < 0)
			return -1;
		if (e->val.type != MSGPACK_OBJECT_MAP)
			return fail(FAIL_DATA, "header: 'seqs' of sequence %llu is not a map", (unsigned long long)seq);
		at += object_size(p + at, n - at, 0);
		f->seqs[i] = (struct frame_seq){seq, p + at, object_size(p + at, n - at, 0)};
		at += f->seqs[i].n;
		f->nseqs++;
	}
	return 0;
}

static int
get_at(struct frame *f, const msgpack_object *o)
{
	if (!(f->at_text = get_text(f, o, "at"))) {
		f->at_text = "";
		return -1;
	}
	f->at = at_parse(f->at_text, strlen(f->at_text));
	return 0;
}

/* 16 hex digits: the id of a model, the key of a saved sequence. */
static int
get_hex(char to[17], const msgpack_object *o, const char *what)
{
	const char *s = o->type == MSGPACK_OBJECT_STR ? o->via.str.ptr : "";

	if (o->type != MSGPACK_OBJECT_STR || o->via.str.size != 16)
		return fail(FAIL_DATA, "header: '%s' is not 16 hex digits", what);
	for (int i = 0; i < 16; i++)
		if (!strchr("0123456789abcdef", s[i]) || s[i] == 0)
			return fail(FAIL_DATA, "header: '%s' is not 16 hex digits", what);
	memcpy(to, s, 16);
	return 0;
}

/* Rows of an unknown precision must not be read as those of another.  */
static int
get_precision(struct frame *f, const msgpack_object *o)
{
	const char *text = get_text(f, o, "precision");
	int p = text ? precision_parse(text) : -1;

	if (text && p < 0)
		return fail(FAIL_DATA, "header: 'precision' is '%s', not " PRECISION_WORDS, text);
	f->precision = p < 0 ? PRECISION_F32 : (enum precision)p;
	return text ? 0 : -1;
}

static int
get_cache_type(struct frame *f, const msgpack_object *o)
{
	const char *text = get_text(f, o, "cache_type");
	int t = text ? cache_type_parse(text) : -1;

	if (text && t < 0)
		return fail(FAIL_DATA, "header: 'cache_type' is '%s', not f32 or bf16", text);
	f->cache_type = t < 0 ? F32 : (enum dtype)t;
	return text ? 0 : -1;
}

enum key { KEY_OTHER, KEY_AT, KEY_LAYER, KEY_SPANS, KEY_TENSORS, KEY_MODEL, KEY_PRECISION,
	KEY_CACHE_TYPE, KEY_SEQS, KEY_DONE, KEY_OP, KEY_SEQ, KEY_FROM, KEY_TO, KEY_N, KEY_TEXT, KEY_KEY, KEY_SIZE, KEY_POSITIONS,
	KEY_PAD, KEYS };

/* The keys of a batch end where those of control frames begin.  */
static const char *const keys[KEYS] = {NULL, "at", "layer", "spans", "tensors", "model",
	"precision", "cache_type", "seqs", "experts_done", "op", "seq", "from", "to", "n", "text", "key", "size", "positions", ""};

struct entry {
	const msgpack_object_kv *kv;
	const unsigned char *key, *value;
	size_t nkey, nvalue;
};

static void
keep_other(struct frame *f, const struct entry *e)
{
	f->others[f->nothers++] = (struct frame_key){e->key, e->value, e->nkey, e->nvalue};
}

static int
read_batch(struct frame *f, enum key k, const struct entry *e, unsigned char *data, size_t payload)
{
	const msgpack_object *o = &e->kv->val;
	uint64_t n;

	switch (k) {
	case KEY_AT:
		return get_at(f, o);
	case KEY_LAYER:
		if (get_uint(o, INT_MAX, "'layer'", &n) < 0)
			return -1;
		f->layer = (int)n;
		return 0;
	case KEY_SPANS:
		return get_spans(f, o);
	case KEY_TENSORS:
		return get_tensors(f, o, data, payload);
	case KEY_MODEL:
		return get_hex(f->model, o, "model");
	case KEY_PRECISION:
		return get_precision(f, o);
	case KEY_CACHE_TYPE:
		return get_cache_type(f, o);
	case KEY_SEQS:
		return get_seqs(f, o, e->value, e->nvalue);
	case KEY_DONE:
		return (f->experts_done = get_text(f, o, "experts_done")) ? 0 : -1;
	case KEY_PAD:
		return 0;
	default:
		keep_other(f, e);
		return 0;
	}
}

static int
read_control(struct frame *f, enum key k, const msgpack_object *o, unsigned char *data,
    size_t payload)
{
	uint64_t n = 0;

	switch (k) {
	case KEY_SEQ:
		return get_uint(o, UINT64_MAX, "'seq'", &f->seq);
	case KEY_FROM:
		return get_uint(o, UINT64_MAX, "'from'", &f->from);
	case KEY_TO:
		return get_uint(o, UINT64_MAX, "'to'", &f->to);
	case KEY_N:
		if (get_uint(o, FRAME_POS_MAX, "'n'", &n) < 0)
			return -1;
		f->fork_n = (uint32_t)n;
		return 0;
	case KEY_TEXT:
		return (f->text = get_text(f, o, "text")) ? 0 : -1;
	case KEY_KEY:
		return get_hex(f->key, o, "key");
	case KEY_TENSORS:
		return get_tensors(f, o, data, payload);
	case KEY_SIZE:
		return get_uint(o, UINT64_MAX, "'size'", &f->size);
	case KEY_POSITIONS:
		return get_uint(o, UINT64_MAX, "'positions'", &f->positions);
	default:
		return 0;
	}
}

static int
has_key(const msgpack_object *map, const char *key)
{
	for (uint32_t i = 0; i < map->via.map.size; i++)
		if (is_text(&map->via.map.ptr[i].key, key))
			return 1;
	return 0;
}

static enum op
op_of(const msgpack_object *map)
{
	for (uint32_t i = 0; i < map->via.map.size; i++)
		if (is_text(&map->via.map.ptr[i].key, "op")) {
			const msgpack_object *o = &map->via.map.ptr[i].val;
			enum op op = OP_END;

			while (op < OP_OTHER && !is_text(o, op_name(op)))
				op++;
			if (op == OP_SAVE && has_key(map, "folder"))
				return OP_SAVE_WEIGHTS;
			return op == OP_ERROR && has_key(map, "seq") ? OP_FAILED : op;
		}
	return OP_NONE;
}

static enum key
key_of(const msgpack_object *o)
{
	for (enum key k = KEY_AT; k < KEYS; k++)
		if (is_text(o, keys[k]))
			return k;
	return KEY_OTHER;
}

/* The keys that an operation must have; other keys of this list are ignored in control frames.  */
static const unsigned required[] = {
	[OP_NONE] = 1u << KEY_AT | 1u << KEY_SPANS | 1u << KEY_TENSORS,
	[OP_FREE] = 1u << KEY_SEQ,
	[OP_FORK] = 1u << KEY_FROM | 1u << KEY_TO | 1u << KEY_N,
	[OP_SAVE] = 1u << KEY_SEQ | 1u << KEY_N | 1u << KEY_KEY | 1u << KEY_TENSORS,
	[OP_LOAD] = 1u << KEY_SEQ | 1u << KEY_N | 1u << KEY_KEY | 1u << KEY_TENSORS,
	[OP_CACHE] = 1u << KEY_SIZE | 1u << KEY_POSITIONS,
	[OP_NORM] = 1u << KEY_TENSORS, [OP_STEP] = 1u << KEY_TENSORS,
	[OP_SAVE_WEIGHTS] = 1u << KEY_TENSORS,
	[OP_ERROR] = 1u << KEY_TEXT, [OP_FAILED] = 1u << KEY_SEQ | 1u << KEY_TEXT, [OP_OTHER] = 0};

static int
check_complete(const struct frame *f, unsigned seen)
{
	for (enum key k = KEY_AT; k < KEY_PAD; k++)
		if (required[f->op] & ~seen & 1u << k)
			return fail(FAIL_DATA, "header: the key '%s' is missing", keys[k]);
	if (f->layer < 0 && at_layered(f->at))
		return fail(FAIL_DATA, "header: the key 'layer' is missing");
	return 0;
}

static int
read_map(struct frame *f, const msgpack_object *map, const unsigned char *p, size_t n, unsigned char *data, size_t payload)
{
	size_t at = p[0] >= 0xde ? p[0] == 0xde ? 3 : 5 : 1;
	unsigned seen = 0;

	f->op = op_of(map);
	f->others = mem_new(map->via.map.size, sizeof(*f->others));
	if (!f->others)
		return -1;
	for (uint32_t i = 0; i < map->via.map.size; i++) {
		struct entry e = {.kv = &map->via.map.ptr[i]};
		enum key k = key_of(&e.kv->key);

		e.key = p + at;
		e.nkey = object_size(p + at, n - at, 1);
		e.value = e.key + e.nkey;
		at += e.nkey;
		e.nvalue = object_size(p + at, n - at, 1);
		at += e.nvalue;
		if (k != KEY_OTHER && seen & 1u << k)
			return fail(FAIL_DATA, "header: the key '%s' appears twice", keys[k]);
		seen |= 1u << k;
		if (f->op == OP_NONE && read_batch(f, k, &e, data, payload) < 0)
			return -1;
		if (f->op != OP_NONE && k == KEY_OTHER && !learn_reads(f, &e.kv->key))
			keep_other(f, &e);
		else if (f->op != OP_NONE && k == KEY_AT && is_text(&e.kv->val, at_name(AT_DRAFT)))
			frame_set_at(f, AT_DRAFT, -1), f->changed = 0;
		else if (f->op != OP_NONE && required[f->op] & 1u << k &&
		    read_control(f, k, &e.kv->val, data, payload) < 0)
			return -1;
	}
	return op_learns(f->op) && learn_read(f, map) < 0 ? -1 : check_complete(f, seen);
}

int
frame_parse(struct frame *f, unsigned char *raw, size_t n)
{
	uint32_t crc = n >= FRAME_PREAMBLE && frame_size(raw) == n ? frame_crc(0, raw, 0, n) : 0;

	return frame_parse_summed(f, raw, n, crc);
}

int
frame_parse_summed(struct frame *f, unsigned char *raw, size_t n, uint32_t crc)
{
	msgpack_unpacked u;
	unsigned char *p = raw + FRAME_PREAMBLE, *data;
	size_t header, payload;
	int status;

	frame_free(f);
	f->raw = raw;
	f->nraw = n;
	if (n < FRAME_PREAMBLE)
		return fail(FAIL_DATA, "a frame of %zu bytes is shorter than its preamble", n);
	if (frame_size(raw) != n)
		return frame_size(raw) ? fail(FAIL_DATA, "the preamble claims %zu bytes, the frame has %zu", frame_size(raw), n) : -1;
	if (frame_check_prefix(raw) < 0)
		return -1;
	header = frame_get32(raw + 6);
	payload = frame_get32(raw + 10);
	data = p + header + 5;
	if (crc != frame_get32(raw + 14))
		return fail(FAIL_DATA, "the CRC does not match: the data are corrupt");
	if (object_size(p, header, 0) != header || !(p[0] >> 4 == 8 || p[0] == 0xde || p[0] == 0xdf))
		return fail(FAIL_DATA, "the header is not one msgpack map");
	msgpack_unpacked_init(&u);
	if (msgpack_unpack_next(&u, (const char *)p, header, NULL) != MSGPACK_UNPACK_SUCCESS ||
	    u.data.type != MSGPACK_OBJECT_MAP)
		status = fail(FAIL_DATA, "the header is not one msgpack map");
	else
		status = read_map(f, &u.data, p, header, data, payload);
	msgpack_unpacked_destroy(&u);
	return status;
}
