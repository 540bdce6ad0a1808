#include "inspect/info/info.h"

#include <stdlib.h>
#include <string.h>

#include "attention/attention.h"
#include "base/fail.h"
#include "base/json.h"
#include "arch/model.h"
#include "inspect/info/info_gguf.h"

static const char *const methods[] = {[TOPK_GREEDY] = "greedy", [TOPK_GROUP_MAX] = "group_limited_greedy",
    [TOPK_NOAUX_TC] = "noaux_tc"};

/* "671.0 G", in units of 1000. */
static const char *
short_form(char to[16], double n)
{
	static const char units[] = " kMGTP";
	int u = 0;

	while (n >= 999.95 && u < 5) {
		n /= 1000;
		u++;
	}
	snprintf(to, 16, u ? "%.1f %c" : "%.0f ", n, units[u]);
	return to;
}

/* A position's rows of all layers' caches. */
static double
cache_bytes(const struct config *c, int gpu, enum precision precision)
{
	const struct attention_where where = {gpu, precision, cache_type_default(precision)};

	return (double)c->num_layers * (double)attention_of(c)->cache_row(c, where);
}

static void
print_quantization(FILE *to, const struct config *c, int gguf)
{
	if (gguf)
		fprintf(to, "quantization  types of GGUF\n");
	else if (c->quant)
		fprintf(to, "quantization  q%d, a scale for %d weights, %s%s%s\n", c->quant, QUANT_GROUP,
		    c->quant_experts ? "experts alone" : "all linear layers",
		    c->quant_head ? " and the output matrix" : "",
		    c->fp8 ? "; others FP8" : "");
	else
		fprintf(to, c->fp8 ? "quantization  FP8, a scale for %dx%d weights\n" : "quantization  none\n",
		    FP8_BLOCK, FP8_BLOCK);
}

static void
print_shapes(FILE *to, const struct info *i)
{
	const struct config *c = &i->sizes.config;
	char a[16], b[16], heads[200];
	int moe = 0;

	for (int l = 0; l < c->num_layers; l++)
		moe += config_is_moe(c, l);
	fprintf(to, "model         %s, id %s\n", i->sizes.config.type, i->id);
	fprintf(to, "layers        %d: %d dense, %d with experts\n", c->num_layers, c->num_layers - moe, moe);
	fprintf(to, "hidden        %d; dense MLP %d; vocabulary %d%s\n", c->hidden_size,
	    c->intermediate_size, c->vocab_size,
	    c->tie_word_embeddings ? ", one matrix in and out" : "");
	attention_of(c)->describe(c, heads, sizeof(heads));
	fprintf(to, "attention     %s\n", heads);
	if (moe)
		fprintf(to, "experts       %d of %d, %d chosen (%s, %s), %d shared\n", c->n_routed_experts, c->moe_intermediate_size,
		    c->num_experts_per_tok, c->scoring == SCORE_SIGMOID ? "sigmoid" : "softmax", methods[c->topk_method],
		    c->n_shared_experts);
	fprintf(to, "positions     %d; %sB of cache each (%sB as bf16)\n", c->max_position,
	    short_form(a, cache_bytes(c, 0, PRECISION_F32)),
	    short_form(b, cache_bytes(c, 0, PRECISION_BF16)));
	print_quantization(to, c, i->gguf != NULL);
	fprintf(to, "parameters    %s, %s active a token\n", short_form(a, (double)i->sizes.total.params),
	    short_form(b, (double)i->sizes.active));
	fprintf(to, "weights       %sB in %zu file%s%s\n", short_form(a, (double)i->sizes.total.bytes), i->nfiles,
	    i->nfiles == 1 ? "" : "s", i->exact ? "" : ", as config.json has them");
}

static void
print_types(FILE *to, const struct sizes *s)
{
	char a[16], b[16];

	fprintf(to, "\n%-10s %12s %12s %12s\n", "stored as", "parameters", "bytes", "bits each");
	for (int t = 0; t < DTYPES_ALL; t++)
		if (s->types[t].params)
			fprintf(to, "%-10s %12s %11sB %12.3f\n", dtype_name((enum dtype)t), short_form(a, (double)s->types[t].params),
			    short_form(b, (double)s->types[t].bytes), 8.0 * (double)s->types[t].bytes / (double)s->types[t].params);
}

/* The next layer from l on that is shown; num_layers: none. */
static int
next_shown(const struct info *i, int l)
{
	while (l < i->sizes.config.num_layers && !i->layers.has[l])
		l++;
	return l;
}

/* Layers of like sizes that follow one another are one line. */
static void
print_layers(FILE *to, const struct info *i)
{
	const struct sizes *s = &i->sizes;
	char n[32], a[16], b[16], c[16], d[16];
	int last;

	fprintf(to, "\n%-10s %12s %12s %12s %12s\n", "layer", "attention", "router", "shared, MLP", "experts");
	for (int l = next_shown(i, 0); l < s->config.num_layers; l = next_shown(i, last + 1)) {
		const struct layer_size *z = &s->layers[l];

		for (last = l; !i->each && last + 1 < s->config.num_layers && i->layers.has[last + 1] &&
		    memcmp(z, &s->layers[last + 1], sizeof(*z)) == 0; last++)
			;
		snprintf(n, sizeof(n), last > l ? "%d-%d" : "%d", l, last);
		fprintf(to, "%-10s %11sB %11sB %11sB %11sB\n", n, short_form(a, (double)z->attn.bytes),
		    short_form(b, (double)z->route.bytes), short_form(c, (double)z->shared.bytes), short_form(d, (double)z->routed.bytes));
	}
	fprintf(to, "%-10s %11sB\n", "embedding", short_form(a, (double)s->embed.bytes));
	fprintf(to, "%-10s %11sB\n", "head", short_form(a, (double)s->head.bytes));
}

static int
checked(FILE *to)
{
	return fflush(to) != 0 || ferror(to) ? fail(FAIL_SYSTEM, "cannot write:") : 0;
}

int
info_text(FILE *to, const struct info *i)
{
	print_shapes(to, i);
	if (i->exact)
		print_types(to, &i->sizes);
	print_layers(to, i);
	if (i->gguf)
		info_gguf_text(to, i->gguf);
	for (size_t k = 0; k < i->nmissing; k++)
		fprintf(to, "%smissing       %s\n", k ? "" : "\n", i->missing[k]);
	if (i->stale)
		fprintf(to, "\nnot read      %s: model.safetensors has all tensors\n", CHECKPOINT_INDEX);
	return checked(to);
}

static void
add_size(cJSON *o, const char *name, struct weight_size p)
{
	cJSON *s = cJSON_AddObjectToObject(o, name);

	cJSON_AddNumberToObject(s, "parameters", (double)p.params);
	cJSON_AddNumberToObject(s, "bytes", (double)p.bytes);
}

static void
add_shapes(cJSON *o, const struct config *c, int gguf)
{
	const struct { const char *key; int value; } model[] = {
		{"vocab_size", c->vocab_size}, {"hidden_size", c->hidden_size},
		{"num_hidden_layers", c->num_layers}, {"num_attention_heads", c->num_heads},
	}, mlp[] = {
		{"intermediate_size", c->intermediate_size},
		{"moe_intermediate_size", c->moe_intermediate_size},
		{"n_routed_experts", c->n_routed_experts},
		{"num_experts_per_tok", c->num_experts_per_tok},
		{"n_shared_experts", c->n_shared_experts},
		{"max_position_embeddings", c->max_position},
	};

	for (size_t k = 0; k < sizeof(model) / sizeof(model[0]); k++)
		cJSON_AddNumberToObject(o, model[k].key, model[k].value);
	for (const struct attention_shape *s = attention_of(c)->shapes; s->key; s++)
		cJSON_AddNumberToObject(o, s->key, *(const int *)((const char *)c + s->at));
	for (size_t k = 0; k < sizeof(mlp) / sizeof(mlp[0]); k++)
		cJSON_AddNumberToObject(o, mlp[k].key, mlp[k].value);
	cJSON_AddBoolToObject(o, "tie_word_embeddings", c->tie_word_embeddings);
	cJSON_AddStringToObject(o, "quantization", gguf ? "gguf" : c->quant == 8 ? "q8" :
	    c->quant ? "q4" : c->fp8 ? "fp8" : "none");
	cJSON_AddNumberToObject(o, "cache_bytes", cache_bytes(c, 0, PRECISION_F32));
	cJSON_AddNumberToObject(o, "cache_bytes_bf16", cache_bytes(c, 0, PRECISION_BF16));
	cJSON_AddNumberToObject(o, "cache_bytes_gpu_bf16", cache_bytes(c, 1, PRECISION_BF16));
}

static void
add_layers(cJSON *list, const struct info *i)
{
	for (int l = next_shown(i, 0); l < i->sizes.config.num_layers; l = next_shown(i, l + 1)) {
		const struct layer_size *z = &i->sizes.layers[l];
		cJSON *o = cJSON_CreateObject();

		cJSON_AddNumberToObject(o, "layer", l);
		cJSON_AddBoolToObject(o, "experts", z->moe);
		add_size(o, "attention", z->attn);
		add_size(o, "router", z->route);
		add_size(o, "shared", z->shared);
		add_size(o, "routed", z->routed);
		cJSON_AddItemToArray(list, o);
	}
}

int
info_json(FILE *to, const struct info *i)
{
	cJSON *o = cJSON_CreateObject(), *types;
	char *text;

	cJSON_AddStringToObject(o, "model_type", i->sizes.config.type);
	cJSON_AddStringToObject(o, "id", i->id);
	add_shapes(o, &i->sizes.config, i->gguf != NULL);
	add_size(o, "total", i->sizes.total);
	cJSON_AddNumberToObject(o, "active", (double)i->sizes.active);
	cJSON_AddNumberToObject(o, "files", (double)i->nfiles);
	cJSON_AddBoolToObject(o, "exact", i->exact);
	types = cJSON_AddObjectToObject(o, "types");
	for (int t = 0; t < DTYPES_ALL; t++)
		if (i->sizes.types[t].params)
			add_size(types, dtype_name((enum dtype)t), i->sizes.types[t]);
	add_size(o, "embedding", i->sizes.embed);
	add_size(o, "head", i->sizes.head);
	add_layers(cJSON_AddArrayToObject(o, "layers"), i);
	cJSON_AddItemToObject(o, "missing", cJSON_CreateStringArray((const char *const *)i->missing, (int)i->nmissing));
	if (i->gguf)
		cJSON_AddItemToObject(o, "gguf", cJSON_Duplicate(i->gguf, 1));
	if (i->stale) {
		const char *const stale[] = {CHECKPOINT_INDEX};

		cJSON_AddItemToObject(o, "not_read", cJSON_CreateStringArray(stale, 1));
	}
	text = cJSON_Print(o);
	cJSON_Delete(o);
	if (!text)
		return fail(FAIL_SYSTEM, "no memory for JSON");
	fprintf(to, "%s\n", text);
	free(text);
	return checked(to);
}
