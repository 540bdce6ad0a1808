#include "token/export.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "token/alphabet.h"
#include "token/settings.h"
#include "token/template_internal.h"
#include "token/tokenizer.h"

#define CONFIG_MAX (1u << 20)
#define NAME_BYTES 24           /* "[PAD151935]" */

/* --- tokens and merges --- */

/* The spelling of n bytes, in memory that has room for it. */
static struct export_string
add_spelling(struct export *e, const char *bytes, size_t n)
{
	char *to = (char *)e->text.p + e->text.n;
	struct export_string string = {to, alphabet_spell(to, bytes, n)};

	e->text.n += string.n;
	return string;
}

static void
add_token(struct export *e, size_t id, const struct token *token)
{
	const char *bytes = e->tokenizer->tokens.bytes;

	if (!token) {
		char *to = (char *)e->text.p + e->text.n;
		size_t n = (size_t)snprintf(to, NAME_BYTES, "[PAD%zu]", id);

		e->tokens[id] = (struct export_string){to, n};
		e->text.n += n;
	} else if (!token->added) {
		e->tokens[id] = token->plain ? add_spelling(e, bytes + token->at, token->len) :
		    (struct export_string){bytes + token->at, token->len};
	}
	e->types[id] = !token ? GGUF_TOKEN_UNUSED : !token->added ? GGUF_TOKEN_NORMAL :
	    token->special ? GGUF_TOKEN_CONTROL : GGUF_TOKEN_USER_DEFINED;
}

static void
add_tokens(struct export *e)
{
	const struct tokenizer *t = e->tokenizer;

	for (size_t i = 0; i < e->n; i++)
		add_token(e, i, i < t->tokens.n && t->tokens.v[i].known ? &t->tokens.v[i] : NULL);
	for (int set = 0; set < 2; set++)
		for (struct table_slot *s = NULL; (s = table_next(&t->added[set].ids, s)); )
			e->tokens[(intptr_t)s->value - 1] = (struct export_string){s->key, s->len};
}

static void
add_merge(struct export *e, int32_t product, size_t left)
{
	const struct token *token = &e->tokenizer->tokens.v[product];
	const char *bytes = e->tokenizer->tokens.bytes + token->at;
	struct export_string a = add_spelling(e, bytes, left), b;

	e->text.p[e->text.n++] = ' ';
	b = add_spelling(e, bytes + left, token->len - left);
	e->merges[e->nmerges++] = (struct export_string){a.s, a.n + 1 + b.n};
}

/* The merges by rank. Those of a vocabulary by rank are what splits each token. */
static int
list_merges(struct tokenizer *t, int32_t *products, uint32_t *lefts)
{
	if (!t->bpe.by_rank) {
		bpe_merges(&t->bpe, products, lefts);
		return 0;
	}
	for (size_t id = 0; id < t->tokens.n; id++) {
		const struct token *token = &t->tokens.v[id];
		ptrdiff_t left = !token->known || token->added || token->len < 2 ? 0 :
		    bpe_split(&t->bpe, (int32_t)id);

		if (left < 0)
			return -1;
		products[id] = left > 0 ? (int32_t)id : -1;
		lefts[id] = (uint32_t)left;
	}
	return 0;
}

static int
add_all(struct export *e)
{
	struct tokenizer *t = e->tokenizer;
	size_t nmerges = t->bpe.by_rank ? t->tokens.n : t->bpe.nmerges, room = 1;
	int32_t *products = mem_raw(nmerges, sizeof(*products));
	uint32_t *lefts = mem_raw(nmerges, sizeof(*lefts));

	e->n = t->vocab > TOKEN_ID_MAX ? t->tokens.n : (size_t)t->vocab;
	e->tokens = mem_new(e->n, sizeof(*e->tokens));
	e->types = mem_new(e->n, sizeof(*e->types));
	e->merges = mem_new(nmerges, sizeof(*e->merges));
	if (products && lefts && e->tokens && e->types && e->merges &&
	    list_merges(t, products, lefts) == 0) {
		for (size_t m = 0; m < nmerges; m++)
			room += products[m] < 0 ? 0 : 2 * t->tokens.v[products[m]].len + 1;
		for (size_t i = 0; i < t->tokens.n; i++)
			room += 2 * t->tokens.v[i].len;
		room += e->n * NAME_BYTES;
		e->text.p = mem_raw(room, 1);
	}
	if (e->text.p) {
		add_tokens(e);
		for (size_t m = 0; m < nmerges; m++)
			if (products[m] >= 0)
				add_merge(e, products[m], lefts[m]);
	}
	free(products);
	free(lefts);
	return e->text.p ? 0 : -1;
}

/* --- settings --- */

/* An id of config.json, or the first of a list. */
static int
config_id(const cJSON *config, const char *name, int64_t *id)
{
	char key[32];
	const cJSON *v = NULL;
	uint64_t whole;

	snprintf(key, sizeof(key), "%s_id", name);
	if (!config || json_get(config, key, JSON_OPTIONAL, &v) <= 0)
		return config && json_get(config, key, JSON_OPTIONAL, &v) < 0 ? -1 : 0;
	if (cJSON_IsArray(v))
		v = v->child;
	if (v && json_whole(v, TOKEN_ID_MAX, &whole) == 0)
		*id = (int64_t)whole;
	return 0;
}

/* The ids of bos_token and so on: of the settings, else of config.json. */
static int
add_ids(struct export *e, const cJSON *config)
{
	for (int i = 0; i < GGUF_IDS; i++) {
		const char *token = NULL;

		e->ids[i] = -1;
		if (e->settings && settings_token(e->settings, gguf_id_names[i], &token) < 0)
			return -1;
		if (token)
			e->ids[i] = tokenizer_id(e->tokenizer, token);
		if (e->ids[i] < 0 && config_id(config, gguf_id_names[i], &e->ids[i]) < 0)
			return fail_in("config.json");
		if (e->ids[i] >= (int64_t)e->n)
			e->ids[i] = -1;
	}
	return 0;
}

/* GGUF can say that one BOS comes before a text and one EOS after it. */
static int
add_around(struct export *e)
{
	size_t n, before;
	const int32_t *ids = tokenizer_around(e->tokenizer, &n, &before);

	e->add_bos = before == 1;
	e->add_eos = n - before == 1;
	if (before > 1 || n - before > 1 || (e->add_bos && e->ids[GGUF_BOS] >= 0 &&
	    ids[0] != e->ids[GGUF_BOS]) ||
	    (e->add_eos && e->ids[GGUF_EOS] >= 0 && ids[n - 1] != e->ids[GGUF_EOS]))
		return fail(FAIL_DATA, "the tokens around a text are not bos_token and eos_token");
	if (e->add_bos)
		e->ids[GGUF_BOS] = ids[0];
	if (e->add_eos)
		e->ids[GGUF_EOS] = ids[n - 1];
	return 0;
}

/* Jinja drops a final newline, which template_read has done: put it back where another remains. */
static int
copy_template(const char *text, char **to)
{
	size_t n = text ? strlen(text) : 0;

	*to = NULL;
	if (text && asprintf(to, "%s%s", text, n > 0 && text[n - 1] == '\n' ? "\n" : "") < 0)
		return fail(FAIL_SYSTEM, "no memory for a chat template");
	return 0;
}

static int
add_templates(struct export *e, const char *model)
{
	struct template t = {0};
	int r = template_read(&t, model, e->settings);

	if (r > 0)
		r = copy_template(t.text, &e->template) < 0 ||
		    copy_template(t.tool_use, &e->tool_use) < 0 ? -1 : 0;
	template_close(&t);
	return r;
}

static int
load_config(const char *model, cJSON **config)
{
	char path[PATH_MAX];

	*config = NULL;
	if (gguf_is(model))
		return 0;
	if (io_path(path, sizeof(path), model, "config.json") < 0)
		return -1;
	return !file_exists(path) || (*config = json_load(path, CONFIG_MAX)) ? 0 : -1;
}

int
export_open(struct export *e, const char *model)
{
	cJSON *config = NULL;
	int r = -1;

	if ((e->tokenizer = tokenizer_open(model)) && settings_load(model, &e->settings) >= 0 &&
	    load_config(model, &config) == 0 && add_all(e) == 0) {
		const struct tokenizer *t = e->tokenizer;

		e->pre = pre_match((const char *const *)t->regexes, t->nfc, t->bpe.ignore_merges);
		r = add_ids(e, config) < 0 || add_around(e) < 0 ? fail_in("'%s'", model) :
		    add_templates(e, model);
	}
	cJSON_Delete(config);
	return r;
}

void
export_close(struct export *e)
{
	tokenizer_close(e->tokenizer);
	cJSON_Delete(e->settings);
	free(e->tokens);
	free(e->types);
	free(e->merges);
	free(e->template);
	free(e->tool_use);
	buf_free(&e->text);
	*e = (struct export){0};
}
