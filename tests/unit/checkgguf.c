/* TAP: GGUF files: what getters return, and that a damaged header is refused, or read within the
 * file. */
/* check: yes */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arch/model.h"
#include "base/fail.h"
#include "base/mem.h"
#include "point.h"
#include "weights/gguf.h"

#ifdef __SANITIZE_ADDRESS__
#define STEP 5                          /* of the bytes that are damaged */
#else
#define STEP 1
#endif

/* --- a file: qwen2 with one layer --- */

enum { D = 8, F = 12, V = 6, H = 2, G = 1 };

static void
add(struct buf *b, const void *p, size_t n)
{
	if (buf_add(b, p, n) < 0)
		die_failed();
}

static void
add_number(struct buf *b, uint64_t n, size_t bytes)
{
	add(b, &n, bytes);
}

static void
add_text(struct buf *b, const char *s)
{
	add_number(b, strlen(s), 8);
	add(b, s, strlen(s));
}

static void
add_key(struct buf *b, const char *key, enum gguf_type type, const void *value, size_t n)
{
	add_text(b, key);
	add_number(b, type, 4);
	add(b, value, n);
}

static void
add_u32(struct buf *b, const char *key, uint32_t value)
{
	add_key(b, key, GGUF_UINT32, &value, sizeof(value));
}

static void
add_f32(struct buf *b, const char *key, float value)
{
	add_key(b, key, GGUF_FLOAT32, &value, sizeof(value));
}

/* The values that getters are tried on; returns how many. */
static uint64_t
add_values(struct buf *b)
{
	static const char *const tokens[] = {"a", "", "b\xc3\xa4"};
	int8_t minus = -5;
	uint8_t yes = 1;
	uint64_t large = UINT64_MAX;

	add_key(b, "test.int8", GGUF_INT8, &minus, 1);
	add_key(b, "test.yes", GGUF_BOOL, &yes, 1);
	add_key(b, "test.large", GGUF_UINT64, &large, 8);
	add_text(b, "test.tokens");
	add_number(b, GGUF_ARRAY, 4);
	add_number(b, GGUF_STRING, 4);
	add_number(b, 3, 8);
	for (int i = 0; i < 3; i++)
		add_text(b, tokens[i]);
	add_text(b, "test.shorts");
	add_number(b, GGUF_ARRAY, 4);
	add_number(b, GGUF_INT16, 4);
	add_number(b, 2, 8);
	add_number(b, 0xfffe, 2);
	add_number(b, 7, 2);
	return 5;
}

static uint64_t
add_metadata(struct buf *b)
{
	static const struct { const char *key; uint32_t n; } sizes[] = {
		{"qwen2.block_count", 1}, {"qwen2.embedding_length", D},
		{"qwen2.feed_forward_length", F}, {"qwen2.context_length", 64},
		{"qwen2.attention.head_count", H}, {"qwen2.attention.head_count_kv", G},
	};

	add_text(b, "general.architecture");
	add_number(b, GGUF_STRING, 4);
	add_text(b, "qwen2");
	for (int i = 0; i < 6; i++)
		add_u32(b, sizes[i].key, sizes[i].n);
	add_f32(b, "qwen2.attention.layer_norm_rms_epsilon", 1e-6f);
	add_f32(b, "qwen2.rope.freq_base", 10000);
	return 9 + add_values(b);
}

static const struct { const char *name; uint64_t rows, cols; } tensors[] = {
	{"token_embd.weight", V, D}, {"output_norm.weight", 0, D}, {"output.weight", V, D},
	{"blk.0.attn_norm.weight", 0, D}, {"blk.0.ffn_norm.weight", 0, D},
	{"blk.0.attn_q.weight", D, D}, {"blk.0.attn_q.bias", 0, D},
	{"blk.0.attn_k.weight", D / 2, D}, {"blk.0.attn_k.bias", 0, D / 2},
	{"blk.0.attn_v.weight", D / 2, D}, {"blk.0.attn_v.bias", 0, D / 2},
	{"blk.0.attn_output.weight", D, D}, {"blk.0.ffn_gate.weight", F, D},
	{"blk.0.ffn_up.weight", F, D}, {"blk.0.ffn_down.weight", D, F},
};
#define TENSORS (sizeof(tensors) / sizeof(tensors[0]))

/* The whole file; returns where the data begin. */
static size_t
make(struct buf *b)
{
	struct buf keys = {0};
	uint64_t n = add_metadata(&keys), at = 0;
	size_t head;

	add(b, "GGUF\3\0\0\0", 8);
	add_number(b, TENSORS, 8);
	add_number(b, n, 8);
	add(b, keys.p, keys.n);
	for (size_t i = 0; i < TENSORS; i++) {
		uint64_t rows = tensors[i].rows, cols = tensors[i].cols;

		add_text(b, tensors[i].name);
		add_number(b, rows ? 2 : 1, 4);
		add_number(b, cols, 8);
		if (rows)
			add_number(b, rows, 8);
		add_number(b, 0, 4);
		add_number(b, at, 8);
		at += ((rows ? rows : 1) * cols * 4 + 31) / 32 * 32;
	}
	while (b->n % 32)
		add_number(b, 0, 1);
	head = b->n;
	for (uint64_t i = 0; i < at / 4; i++)
		add_number(b, 0x3f800000, 4);
	buf_free(&keys);
	return head;
}

/* --- getters --- */

static void
check_values(const struct gguf *g)
{
	const struct gguf_value *v = NULL;
	const unsigned char *at;
	const char *s = NULL;
	int64_t n = 0;
	double d = 0;
	size_t len = 0;
	int yes = 0;

	point(gguf_int(g, "test.int8", JSON_REQUIRED, -9, 9, &n) == 1 && n == -5 &&
	    gguf_number(g, "test.int8", JSON_REQUIRED, -9, 9, &d) == 1 && d == -5,
	    "an integer of any type, as a number, too");
	point(gguf_int(g, "test.int8", JSON_REQUIRED, 0, 9, &n) < 0 &&
	    strcmp(fail_text(), "key 'test.int8' is -5, must be 0 to 9") == 0, "its range");
	point(gguf_int(g, "test.large", JSON_REQUIRED, 0, INT64_MAX, &n) == 1 && n == INT64_MAX,
	    "an unsigned number that is too large is the largest");
	point(gguf_bool(g, "test.yes", JSON_REQUIRED, &yes) == 1 && yes, "a truth value");
	point(gguf_number(g, "qwen2.rope.freq_base", JSON_REQUIRED, 0, 1e9, &d) == 1 && d == 1e4,
	    "a float");
	point(gguf_string(g, "general.architecture", JSON_REQUIRED, &s, &len) == 1 && len == 5 &&
	    memcmp(s, "qwen2", 5) == 0, "a string");
	point(gguf_int(g, "test.none", JSON_OPTIONAL, 0, 9, &n) == 0 &&
	    gguf_int(g, "test.none", JSON_REQUIRED, 0, 9, &n) < 0 &&
	    strcmp(fail_text(), "key 'test.none' is missing") == 0, "a missing key");
	point(gguf_int(g, "test.tokens", JSON_OPTIONAL, 0, 9, &n) < 0 &&
	    strcmp(fail_text(), "key 'test.tokens' is not an integer") == 0 &&
	    gguf_ints(g, "test.tokens", JSON_OPTIONAL, &v) < 0, "a wrong type");
	point(gguf_ints(g, "test.shorts", JSON_REQUIRED, &v) == 1 && v->n == 2 &&
	    gguf_element_int(v, 0) == -2 && gguf_element_number(v, 1) == 7, "an array");
	if (gguf_strings(g, "test.tokens", JSON_REQUIRED, &v) != 1)
		die_failed();
	at = v->p;
	s = gguf_next_string(&at, &len);
	yes = len == 1 && *s == 'a';
	(void)gguf_next_string(&at, &len);
	yes &= len == 0;
	s = gguf_next_string(&at, &len);
	point(yes && len == 3 && memcmp(s, "b\xc3\xa4", 3) == 0 && at == v->end, "its strings");
}

/* --- damage --- */

/* Every byte that the getters may return. */
static uint64_t
walk(const struct gguf *g)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < g->nvalues; i++) {
		const struct gguf_value *v = &g->values[i];
		const unsigned char *at = v->p;
		size_t n;

		sum += v->begin[0] + v->end[-1];
		for (uint64_t k = 0; v->array && k < v->n; k++)
			if (v->type == GGUF_STRING)
				(void)gguf_next_string(&at, &n), sum += n;
			else
				sum += (uint64_t)gguf_element_int(v, k);
	}
	return sum;
}

static int
is_one_line(void)
{
	return fail_text()[0] != 0 && !strchr(fail_text(), '\n');
}

/* The file at path, which is one in memory. */
static int file;
static char path[40];

/* In memory of its own that ends with the file, and as a model.  0: neither wrong. */
static int
try(const unsigned char *p, size_t n)
{
	unsigned char *copy = malloc(n ? n : 1);
	struct file_map map = {.p = copy, .n = n};
	struct gguf g = {0};
	struct model m;
	int wrong = 0;

	memcpy(copy, p, n);
	if (gguf_read(&g, &map) == 0)
		(void)walk(&g);
	else
		wrong = !is_one_line();
	gguf_close(&g);
	free(copy);
	if (ftruncate(file, (off_t)n) < 0 || pwrite(file, p, n, 0) != (ssize_t)n)
		die(FAIL_SYSTEM, "cannot write '%s':", path);
	if (model_open(&m, path) == 0)
		model_close(&m);
	else
		wrong |= !is_one_line() || !strstr(fail_text(), path);
	return wrong;
}

static void
check_damage(struct buf *b, size_t head)
{
	static const uint64_t values[] = {0, UINT64_MAX, (uint64_t)1 << 63, (uint64_t)1 << 32, 13};
	int wrong = 0;

	for (size_t n = 0; n <= head; n += STEP)
		wrong += try(b->p, n);
	point(wrong == 0, "a file that ends within its header is refused in one line");
	wrong = 0;
	for (size_t at = 0; at < head; at += STEP) {
		unsigned char is = b->p[at];

		for (int bit = 0; bit < 8; bit += 3) {
			b->p[at] = (unsigned char)(is ^ 1 << bit);
			wrong += try(b->p, b->n);
		}
		b->p[at] = is;
	}
	point(wrong == 0, "and so is one whose bits are turned, or it is read within the file");
	wrong = 0;
	for (size_t at = 0; at + 8 <= head; at += STEP)
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			unsigned char is[8];

			memcpy(is, b->p + at, sizeof(is));
			memcpy(b->p + at, &values[i], sizeof(is));
			wrong += try(b->p, b->n);
			memcpy(b->p + at, is, sizeof(is));
		}
	point(wrong == 0, "with lengths and counts of up to 64 bits in place of any bytes, too");
}

int
main(void)
{
	struct buf b = {0};
	struct gguf g = {0};
	struct model m;
	size_t head = make(&b);

	if ((file = memfd_create("gguf", MFD_CLOEXEC)) < 0)
		die(FAIL_SYSTEM, "cannot make a file:");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	point(try(b.p, b.n) == 0 && model_open(&m, path) == 0 &&
	    m.config.num_heads == H && m.config.head_dim == D / H && m.config.vocab_size == V,
	    "a model in a GGUF file");
	model_close(&m);
	if (gguf_open(&g, path) < 0)
		die_failed();
	check_values(&g);
	gguf_close(&g);
	check_damage(&b, head);
	close(file);
	buf_free(&b);
	printf("1..%d\n", points);
	return failures > 0;
}
