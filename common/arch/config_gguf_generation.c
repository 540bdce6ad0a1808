/*
 * What config.json and generation_config.json say of the end of a text and of sampling.
 */
#include <string.h>

#include "arch/config_gguf_internal.h"
#include "arch/config.h"

/* Kinds of tokens in tokenizer.ggml.token_type. */
enum { TOKEN_CONTROL = 3, TOKEN_USER_DEFINED = 4 };

/* Tokens that end a text in llama.cpp whatever the keys say. */
static const char *const ends[] = {
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|endoftext|>", "<|eom_id|>", "<EOT>", "_<EOT>",
	"[EOT]", "[EOS]", "<|end_of_text|>", "<end_of_turn>", "<|fim_pad|>", "<|repo_name|>",
	"<|file_sep|>", NULL
};

struct ids {
	int id[CONFIG_EOS_MAX], n;
};

static void
add_id(struct ids *s, int id)
{
	for (int i = 0; i < s->n; i++)
		if (s->id[i] == id)
			return;
	if (s->n < CONFIG_EOS_MAX)
		s->id[s->n++] = id;
}

static int
add_keys(const struct metadata *m, struct ids *s)
{
	static const char *const keys[] = {"tokenizer.ggml.eos_token_id",
	    "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
	int64_t id;

	for (int i = 0; i < 3; i++) {
		int got = gguf_int(m->gguf, keys[i], JSON_OPTIONAL, 0, INT32_MAX, &id);

		if (got < 0)
			return -1;
		if (got > 0)
			add_id(s, (int)id);
	}
	return 0;
}

static int
is_end(const char *text, size_t n)
{
	int i = 0;

	while (ends[i] && (strlen(ends[i]) != n || memcmp(ends[i], text, n) != 0))
		i++;
	return ends[i] != NULL;
}

static int
add_by_text(const struct metadata *m, struct ids *s)
{
	const struct gguf_value *tokens = NULL, *types = NULL;
	const unsigned char *at;

	if (gguf_strings(m->gguf, "tokenizer.ggml.tokens", JSON_OPTIONAL, &tokens) < 0 ||
	    gguf_ints(m->gguf, "tokenizer.ggml.token_type", JSON_OPTIONAL, &types) < 0)
		return -1;
	if (!tokens || !types || types->n != tokens->n)
		return 0;
	at = tokens->p;
	for (uint64_t i = 0; i < tokens->n && i <= INT32_MAX; i++) {
		int64_t type = gguf_element_int(types, i);
		size_t n;
		const char *text = gguf_next_string(&at, &n);

		if ((type == TOKEN_CONTROL || type == TOKEN_USER_DEFINED) && is_end(text, n))
			add_id(s, (int)i);
	}
	return 0;
}

/* Written where a model's generation_config.json has them. */
static int
add_sampling(const struct metadata *m)
{
	static const struct { const char *key, *name; } keys[] = {
		{"general.sampling.temp", "temperature"}, {"general.sampling.top_p", "top_p"},
		{"general.sampling.top_k", "top_k"},
	};

	for (int i = 0; i < 3; i++) {
		double x = 0;
		int got = gguf_number(m->gguf, keys[i].key, JSON_OPTIONAL, -1, 1e9, &x);

		if (got < 0)
			return -1;
		if (got > 0)
			cJSON_AddNumberToObject(m->config, keys[i].name, x);
		if (got > 0 && i == 0)
			cJSON_AddBoolToObject(m->config, "do_sample", 1);
	}
	return 0;
}

int
metadata_generation(const struct metadata *m)
{
	struct ids s = {.n = 0};
	int64_t bos;
	int got = gguf_int(m->gguf, "tokenizer.ggml.bos_token_id", JSON_OPTIONAL, 0, INT32_MAX,
	    &bos);

	if (got < 0 || add_keys(m, &s) < 0 || add_by_text(m, &s) < 0 || add_sampling(m) < 0)
		return -1;
	if (got > 0)
		cJSON_AddNumberToObject(m->config, "bos_token_id", (double)bos);
	if (s.n > 0)
		cJSON_AddItemToObject(m->config, "eos_token_id", cJSON_CreateIntArray(s.id, s.n));
	return 0;
}
