#include "weights/gguf_tensors.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/mem.h"

#define NAME_BYTES 200
#define EXPERTS_MAX 4096                /* slices of a stack */
#define TENSORS_MAX (1 << 20)           /* a small file can claim many slices */

/* How a tensor is stored. */
enum storage {
	PLAIN,                          /* a matrix or a vector */
	HEADS,                          /* the same; zipped in llama */
	EXPERTS,                        /* [E][rows][cols]; {e} is the expert */
	GATE_UP,                        /* [E][2 rows][cols]: gate, then up */
	MATRIX,                         /* [n][rows][cols] is one matrix */
	TURNED                          /* [H][R][nope] is H [nope][R] */
};

/* Names after blk.{l}. and after model.layers.{l}. */
static const struct tensor_name {
	const char *gguf, *name;
	enum storage storage;
} in_layer[] = {
	{"attn_norm.weight", "input_layernorm.weight", PLAIN},
	{"attn_q.weight", "self_attn.q_proj.weight", HEADS},
	{"attn_q.bias", "self_attn.q_proj.bias", HEADS},
	{"attn_k.weight", "self_attn.k_proj.weight", HEADS},
	{"attn_k.bias", "self_attn.k_proj.bias", HEADS},
	{"attn_v.weight", "self_attn.v_proj.weight", PLAIN},
	{"attn_v.bias", "self_attn.v_proj.bias", PLAIN},
	{"attn_output.weight", "self_attn.o_proj.weight", PLAIN},
	{"attn_output.bias", "self_attn.o_proj.bias", PLAIN},
	{"attn_q_norm.weight", "self_attn.q_norm.weight", PLAIN},
	{"attn_k_norm.weight", "self_attn.k_norm.weight", PLAIN},
	{"attn_q_a.weight", "self_attn.q_a_proj.weight", PLAIN},
	{"attn_q_a_norm.weight", "self_attn.q_a_layernorm.weight", PLAIN},
	{"attn_q_b.weight", "self_attn.q_b_proj.weight", PLAIN},
	{"attn_kv_a_mqa.weight", "self_attn.kv_a_proj_with_mqa.weight", PLAIN},
	{"attn_kv_a_norm.weight", "self_attn.kv_a_layernorm.weight", PLAIN},
	{"attn_kv_b.weight", "self_attn.kv_b_proj.weight", PLAIN},
	{"attn_k_b.weight", "self_attn.k_b_proj.weight", TURNED},
	{"attn_v_b.weight", "self_attn.v_b_proj.weight", MATRIX},
	{"ffn_norm.weight", "post_attention_layernorm.weight", PLAIN},
	{"ffn_gate.weight", "mlp.gate_proj.weight", PLAIN},
	{"ffn_up.weight", "mlp.up_proj.weight", PLAIN},
	{"ffn_down.weight", "mlp.down_proj.weight", PLAIN},
	{"ffn_gate_inp.weight", "mlp.gate.weight", PLAIN},
	{"exp_probs_b.bias", "mlp.gate.e_score_correction_bias", PLAIN},
	{"ffn_gate_exps.weight", "mlp.experts.{e}.gate_proj.weight", EXPERTS},
	{"ffn_up_exps.weight", "mlp.experts.{e}.up_proj.weight", EXPERTS},
	{"ffn_down_exps.weight", "mlp.experts.{e}.down_proj.weight", EXPERTS},
	{"ffn_gate_up_exps.weight", "mlp.experts.{e}.", GATE_UP},
	{"ffn_gate.{e}.weight", "mlp.experts.{e}.gate_proj.weight", PLAIN},
	{"ffn_up.{e}.weight", "mlp.experts.{e}.up_proj.weight", PLAIN},
	{"ffn_down.{e}.weight", "mlp.experts.{e}.down_proj.weight", PLAIN},
	{"ffn_gate_shexp.weight", "mlp.shared_experts.gate_proj.weight", PLAIN},
	{"ffn_up_shexp.weight", "mlp.shared_experts.up_proj.weight", PLAIN},
	{"ffn_down_shexp.weight", "mlp.shared_experts.down_proj.weight", PLAIN},
	{"nextn.eh_proj.weight", "eh_proj.weight", PLAIN},
	{"nextn.embed_tokens.weight", "embed_tokens.weight", PLAIN},
	{"nextn.enorm.weight", "enorm.weight", PLAIN},
	{"nextn.hnorm.weight", "hnorm.weight", PLAIN},
	{"nextn.shared_head_head.weight", "shared_head.head.weight", PLAIN},
	{"nextn.shared_head_norm.weight", "shared_head.norm.weight", PLAIN},
	/* the angles of rope, which llama.cpp does not read either */
	{"attn_rot_embd.weight", "self_attn.rotary_emb.inv_freq", PLAIN},
	{0}
}, elsewhere[] = {
	{"token_embd.weight", "model.embed_tokens.weight", PLAIN},
	{"output_norm.weight", "model.norm.weight", PLAIN},
	{"output.weight", "lm_head.weight", PLAIN},
	{"rope_freqs.weight", "rope_freqs.weight", PLAIN},
	{0}
};

/* The file that is being read. */
struct tensors {
	struct tensor_file *f;
	size_t cap;
	struct buf text;                /* of names; until the end their `name` is the offset */
	uint64_t head;                  /* rows of a head of llama's q and k, else 0 */
	const char *arch;               /* [narch] */
	size_t narch;
	int64_t experts;                /* of each stack; 0: not known */
};

/* --- names --- */

/* A number at the begin of s: its digits, 0 if there is none that is an int. */
static int
digits(const char *s, int *number)
{
	int n = 0, value = 0;

	for (; s[n] >= '0' && s[n] <= '9'; n++)
		if (n > 8 || (value = 10 * value + s[n] - '0') < 0)
			return 0;
	*number = value;
	return n;
}

/* s is the pattern; {e} is any number. */
static int
matches(const char *s, const char *pattern, int *expert)
{
	int n;

	for (; *pattern; s++, pattern++) {
		if (*pattern == '{') {
			if ((n = digits(s, expert)) == 0)
				return 0;
			s += n - 1;
			pattern += 2;
		} else if (*s != *pattern) {
			return 0;
		}
	}
	return *s == 0;
}

/* Its row of the table; *layer -1: of none. */
static const struct tensor_name *
find(const char *name, int *layer, int *expert)
{
	const struct tensor_name *row = elsewhere;
	int n = 0;

	*layer = *expert = -1;
	if (strncmp(name, "blk.", 4) == 0 && (n = digits(name + 4, layer)) > 0 &&
	    name[4 + n] == '.') {
		name += 4 + n + 1;
		row = in_layer;
	}
	while (row->gguf && !matches(name, row->gguf, expert))
		row++;
	return row->gguf ? row : NULL;
}

const char *
gguf_tensor_name(const char *name)
{
	static const char layers[] = "model.layers.";
	const struct tensor_name *row = elsewhere;
	size_t n = sizeof(layers) - 1;
	int expert, number, length;

	if (strncmp(name, layers, n) == 0 && (length = digits(name + n, &number)) > 0 &&
	    name[n + (size_t)length] == '.') {
		name += n + (size_t)length + 1;
		row = in_layer;
	}
	while (row->gguf && !matches(name, row->name, &expert))
		row++;
	return row->gguf;
}

/* --- entries --- */

/* Append a tensor of so many rows (0: a vector) and columns, from byte `from` of t on. */
static struct tensor_entry *
add(struct tensors *s, const struct gguf_tensor *t, const char *pattern, const char *end, int layer,
    int expert)
{
	struct tensor_file *f = s->f;
	const char *mark = strchr(pattern, '{');
	struct tensor_entry *e;
	char name[NAME_BYTES], *at = name;

	if (f->n == TENSORS_MAX) {
		fail(FAIL_DATA, "the file has more than %d tensors", TENSORS_MAX);
		return NULL;
	}
	if (mem_grow(&f->tensors, &s->cap, f->n + 1, sizeof(*f->tensors)) < 0)
		return NULL;
	if (layer >= 0)
		at += sprintf(at, "model.layers.%d.", layer);
	if (mark)
		sprintf(at, "%.*s%d%s%s", (int)(mark - pattern), pattern, expert, mark + 3, end);
	else
		sprintf(at, "%s%s", pattern, end);
	e = &f->tensors[f->n];
	*e = (struct tensor_entry){.name = (const char *)(uintptr_t)s->text.n,
	    .dtype = t->format->dtype, .begin = t->begin, .end = t->end};
	snprintf(e->dtype_text, sizeof(e->dtype_text), "%s", t->format->name);
	if (buf_add(&s->text, name, strlen(name) + 1) < 0)
		return NULL;
	f->n++;
	return e;
}

static void
set_shape(struct tensor_entry *e, uint64_t rows, uint64_t cols)
{
	e->rank = 2;
	e->shape[0] = rows;
	e->shape[1] = cols;
}

static int
add_plain(struct tensors *s, const struct gguf_tensor *t, const struct tensor_name *row, int layer,
    int expert)
{
	struct tensor_entry *e = add(s, t, row->name, "", layer, expert);
	uint64_t rows = t->dims[t->rank - 1];

	if (!e)
		return -1;
	e->rank = t->rank;
	for (int i = 0; i < t->rank; i++)
		e->shape[i] = t->dims[t->rank - 1 - i];
	if (row->storage != HEADS || s->head == 0)
		return 0;
	if (rows % s->head)
		return fail(FAIL_DATA, "%llu rows, must be a multiple of the width of a head, %llu",
		    (unsigned long long)rows, (unsigned long long)s->head);
	e->zipped = (int)s->head;
	return 0;
}

/* Experts are slices of the same size: a tensor for each, or two. */
static int
add_experts(struct tensors *s, const struct gguf_tensor *t, const struct tensor_name *row,
    int layer)
{
	static const char *const ends[] = {"gate_proj.weight", "up_proj.weight"};
	uint64_t E = t->dims[2], n = row->storage == GATE_UP ? 2 : 1;
	uint64_t bytes = (t->end - t->begin) / (E * n);

	if (E > EXPERTS_MAX)
		return fail(FAIL_DATA, "%llu experts, more than %d", (unsigned long long)E,
		    EXPERTS_MAX);
	if (s->experts > 0 && E != (uint64_t)s->experts)
		return fail(FAIL_DATA, "%llu experts, but expert_count is %lld",
		    (unsigned long long)E, (long long)s->experts);
	if (t->dims[1] % n)
		return fail(FAIL_DATA, "%llu rows of an expert, must be even",
		    (unsigned long long)t->dims[1]);
	for (uint64_t i = 0; i < E * n; i++) {
		struct tensor_entry *e = add(s, t, row->name, n > 1 ? ends[i % n] : "", layer,
		    (int)(i / n));

		if (!e)
			return -1;
		set_shape(e, t->dims[1] / n, t->dims[0]);
		e->begin = t->begin + i * bytes;
		e->end = e->begin + bytes;
	}
	return 0;
}

/* All heads of one half of kv_b. */
static int
add_half(struct tensors *s, const struct gguf_tensor *t, const struct tensor_name *row, int layer)
{
	int turned = row->storage == TURNED;
	uint64_t rows = t->dims[2] * t->dims[!turned];
	struct tensor_entry *e = add(s, t, row->name, "", layer, -1);

	if (!e)
		return -1;
	set_shape(e, rows, t->dims[turned]);
	if (turned && t->dims[0] > INT_MAX)
		return fail(FAIL_DATA, "dimension 0 is %llu", (unsigned long long)t->dims[0]);
	e->turned = turned ? (int)t->dims[0] : 0;
	return 0;
}

static int
add_tensor(struct tensors *s, const struct gguf_tensor *t)
{
	int layer, expert, stacked;
	const struct tensor_name *row = find(t->name, &layer, &expert);

	if (!row)
		return fail(FAIL_DATA, "not known in any architecture that is supported; this is "
		    "'%.*s'", (int)(s->narch < 100 ? s->narch : 100), s->arch);
	if (t->format->dtype < 0)
		return fail(FAIL_DATA, "type %s is not supported", t->format->name);
	stacked = row->storage != PLAIN && row->storage != HEADS;
	if (stacked ? t->rank != 3 : t->rank > 2)
		return fail(FAIL_DATA, stacked ? "%d dimensions, must be 3" :
		    "%d dimensions, must be 1 or 2", t->rank);
	if (!stacked)
		return add_plain(s, t, row, layer, expert);
	return row->storage == EXPERTS || row->storage == GATE_UP ?
	    add_experts(s, t, row, layer) : add_half(s, t, row, layer);
}

/* The width of a head of llama. */
static int
find_head(struct tensors *s, const struct gguf *g)
{
	int64_t width = 0, heads = 1, head = 0;

	if (gguf_check_first(g) < 0 ||
	    gguf_string(g, "general.architecture", JSON_REQUIRED, &s->arch, &s->narch) < 0)
		return -1;
	if (s->narch != 5 || memcmp(s->arch, "llama", 5) != 0)
		return 0;
	if (gguf_int(g, "llama.embedding_length", JSON_REQUIRED, 1, INT_MAX, &width) < 0 ||
	    gguf_int(g, "llama.attention.head_count", JSON_REQUIRED, 1, INT_MAX, &heads) < 0)
		return -1;
	head = width / heads;
	if (gguf_int(g, "llama.attention.key_length", JSON_OPTIONAL, 2, INT_MAX, &head) < 0)
		return -1;
	if (head < 2 || head % 2)
		return fail(FAIL_DATA, "heads of llama have %lld numbers, must be even",
		    (long long)head);
	s->head = (uint64_t)head;
	return 0;
}

/* Where the key is a number for all layers.  (s->arch is known) */
static int
find_experts(struct tensors *s, const struct gguf *g)
{
	char key[NAME_BYTES];
	const struct gguf_value *v;

	snprintf(key, sizeof(key), "%.*s.expert_count", (int)(s->narch < 100 ? s->narch : 100),
	    s->arch);
	v = gguf_find(g, key);
	return v && !v->array && gguf_int(g, key, JSON_OPTIONAL, 0, INT_MAX, &s->experts) < 0 ?
	    -1 : 0;
}

int
gguf_tensors(struct tensor_file *f, const struct gguf *first)
{
	struct tensors s = {.f = f};
	int r = find_head(&s, first) < 0 || find_experts(&s, first) < 0 ? -1 : 0;

	/* (not NULL where a first part has no tensors) */
	if (r == 0)
		r = mem_grow(&f->tensors, &s.cap, f->gguf->ntensors + 1, sizeof(*f->tensors));
	for (size_t i = 0; r == 0 && i < f->gguf->ntensors; i++)
		if ((r = add_tensor(&s, &f->gguf->tensors[i])) < 0)
			fail_in("tensor '%.200s'", f->gguf->tensors[i].name);
	f->text = (char *)s.text.p;
	for (size_t i = 0; r == 0 && i < f->n; i++)
		f->tensors[i].name = f->text + (uintptr_t)f->tensors[i].name;
	return r;
}
