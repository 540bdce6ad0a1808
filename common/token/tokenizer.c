#include "token/tokenizer.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "base/json.h"
#include "token/settings.h"
#include "weights/checkpoint.h"

#define CONFIG_MAX (1u << 20)

static int
load_settings(struct tokenizer *t, const char *dir)
{
	cJSON *o = NULL;
	int r = settings_load(dir, &o);

	if (r > 0 && (r = post_settings(t, o)) < 0)
		fail_in("'%s/tokenizer_config.json'", dir);
	cJSON_Delete(o);
	return r < 0 ? -1 : 0;
}

/* The model's number of ids, which may exceed the number of tokens. */
static int
load_vocab_size(struct tokenizer *t, const char *dir)
{
	char path[PATH_MAX];
	cJSON *o;
	int size = INT_MAX, r;

	t->vocab = (int64_t)INT_MAX + 1;
	if (io_path(path, sizeof(path), dir, "config.json") < 0)
		return -1;
	if (!file_exists(path))
		return 0;
	if (!(o = json_load(path, CONFIG_MAX)))
		return -1;
	r = json_int(o, "vocab_size", JSON_OPTIONAL, 1, INT_MAX, &size);
	if (r > 0)
		t->vocab = (size_t)size > t->tokens.n ? size : (int64_t)t->tokens.n;
	cJSON_Delete(o);
	return r < 0 ? fail_in("'%s'", path) : 0;
}

/* A folder with tokenizer.json, or else with tiktoken.model. */
static int
load_folder(struct tokenizer *t, const char *dir)
{
	char path[PATH_MAX], ranks[PATH_MAX];

	if (io_path(path, sizeof(path), dir, "tokenizer.json") < 0 ||
	    io_path(ranks, sizeof(ranks), dir, "tiktoken.model") < 0)
		return -1;
	if (!file_exists(path) && file_exists(ranks))
		return load_vocab_size(t, dir) < 0 ? -1 : tokenizer_load_tiktoken(t, ranks, dir);
	if (!file_exists(path) && checkpoint_hint(dir, "tokenizer.json"))
		return -1;
	return tokenizer_load_json(t, path) < 0 || load_settings(t, dir) < 0 ? -1 :
	    load_vocab_size(t, dir);
}

struct tokenizer *
tokenizer_open(const char *model)
{
	struct tokenizer *t = mem_new(1, sizeof(*t));

	if (t && (gguf_is(model) ? tokenizer_load_gguf(t, model) : load_folder(t, model)) < 0) {
		tokenizer_close(t);
		return NULL;
	}
	return t;
}

void
tokenizer_close(struct tokenizer *t)
{
	if (!t)
		return;
	for (int i = 0; i < SPLITS_MAX; i++) {
		pattern_close(t->splits[i]);
		free(t->regexes[i]);
	}
	for (int i = 0; i < 2; i++)
		added_free(&t->added[i]);
	bpe_free(&t->bpe);
	buf_free(&t->text);
	buf_free(&t->normal);
	free(t->cuts.end);
	free(t->finer.end);
	free(t->around.ids);
	tokens_free(&t->tokens);
	free(t);
}

static const struct token *
token_get(const struct tokenizer *t, int64_t id)
{
	return id >= 0 && (uint64_t)id < t->tokens.n && t->tokens.v[id].known ? &t->tokens.v[id] :
	    NULL;
}

const char *
tokenizer_bytes(const struct tokenizer *t, int64_t id, size_t *n)
{
	const struct token *token = token_get(t, id);

	if (!token) {
		*n = 0;
		return id >= 0 && id < t->vocab ? "" : NULL;
	}
	*n = token->len;
	return t->tokens.bytes + token->at;
}

int
tokenizer_is_special(const struct tokenizer *t, int64_t id)
{
	const struct token *token = token_get(t, id);

	return token && token->special;
}

int64_t
tokenizer_id(const struct tokenizer *t, const char *token)
{
	int64_t id = 0;

	for (int i = 0; i < 2 && !id; i++)
		id = (intptr_t)table_get(&t->added[i].ids, token, strlen(token));
	return id - 1;
}

const int32_t *
tokenizer_around(const struct tokenizer *t, size_t *n, size_t *before)
{
	*n = t->around.n;
	*before = t->around.before;
	return t->around.ids;
}
