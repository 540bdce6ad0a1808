#include "token/settings.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/file.h"
#include "base/io.h"
#include "base/utf8.h"

#define SETTINGS_MAX (64u << 20)

/* Add a string of n bytes, if there is one. Returns 0, or -1 and a message. */
static int
add_string(cJSON *o, const char *name, const char *s, size_t n)
{
	struct buf b = {0};
	size_t step;
	int r = 0;

	if (!s)
		return 0;
	for (size_t i = 0; i < n && r == 0; i += step)
		if (!s[i] || utf8_next((const unsigned char *)s + i, n - i, &step) != UTF8_CHAR)
			r = fail(FAIL_DATA, "%s is not UTF-8 without NULs", name);
	if (r == 0)
		r = buf_add(&b, s, n) < 0 || buf_addc(&b, 0) < 0 ? -1 : 0;
	if (r == 0 && !cJSON_AddStringToObject(o, name, (char *)b.p))
		r = fail(FAIL_SYSTEM, "no memory for the settings of a tokenizer");
	buf_free(&b);
	return r;
}

static int
add_template(const struct gguf_vocab *g, cJSON *to, const char *key, const char *name)
{
	const char *s = NULL;
	size_t n = 0;

	return gguf_string(&g->file, key, JSON_OPTIONAL, &s, &n) < 0 ? -1 :
	    add_string(to, name, s, n);
}

/* A template, or a list of the two that template.c reads. */
static int
add_templates(const struct gguf_vocab *g, cJSON *o)
{
	static const char tool_use[] = "tokenizer.chat_template.tool_use";
	cJSON *list, *entry[2];

	if (!gguf_find(&g->file, tool_use))
		return add_template(g, o, "tokenizer.chat_template", "chat_template");
	list = cJSON_AddArrayToObject(o, "chat_template");
	for (int i = 0; i < 2; i++) {
		entry[i] = cJSON_CreateObject();
		if (!cJSON_AddStringToObject(entry[i], "name", i ? "tool_use" : "default") ||
		    !cJSON_AddItemToArray(list, entry[i]))
			return fail(FAIL_SYSTEM, "no memory for the settings of a tokenizer");
	}
	return add_template(g, entry[0], "tokenizer.chat_template", "template") < 0 ? -1 :
	    add_template(g, entry[1], tool_use, "template");
}

cJSON *
settings_gguf(const struct gguf_vocab *g)
{
	cJSON *o = cJSON_CreateObject();
	int r = o ? add_templates(g, o) : -1;

	for (int i = 0; i < GGUF_IDS && r == 0; i++) {
		size_t n = 0;
		const char *s = gguf_vocab_string(g, g->ids[i], &n);

		r = add_string(o, gguf_id_names[i], s, n);
	}
	if (r == 0)
		return o;
	cJSON_Delete(o);
	return NULL;
}

static int
load_gguf(const char *path, cJSON **o)
{
	struct gguf_vocab g = {0};

	*o = NULL;
	if (gguf_vocab_open(&g, path) == 0 && !(*o = settings_gguf(&g)))
		fail_in("'%s'", path);
	gguf_vocab_close(&g);
	return *o ? 1 : -1;
}

int
settings_load(const char *model, cJSON **o)
{
	char path[PATH_MAX];

	if (gguf_is(model))
		return load_gguf(model, o);
	if (io_path(path, sizeof(path), model, "tokenizer_config.json") < 0)
		return -1;
	if (!file_exists(path))
		return 0;
	*o = json_load(path, SETTINGS_MAX);
	return *o ? 1 : -1;
}

const char *
settings_name(const char *model)
{
	return gguf_is(model) ? model : "tokenizer_config.json";
}

const char *
settings_path(char *to, size_t size, const char *model)
{
	snprintf(to, size, gguf_is(model) ? "%s" : "%s/tokenizer_config.json", model);
	return to;
}

int
settings_token(const cJSON *o, const char *name, const char **token)
{
	const cJSON *v = NULL;

	*token = NULL;
	if (json_get(o, name, JSON_OPTIONAL, &v) < 0)
		return -1;
	if (cJSON_IsObject(v))
		return json_string(v, "content", JSON_REQUIRED, token) < 0 ? fail_in("%s", name) :
		    0;
	return json_string(o, name, JSON_OPTIONAL, token) < 0 ? -1 : 0;
}
