/* TAP: each pre-tokenizer against recorded ids (golden/pre): as tokenizer.json, by its name in a
 * GGUF file, exported from there to tokenizer.json; ranks; GGUF files that are refused. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nettle/base64.h>
#include <nettle/sha2.h>

#include "base/fail.h"
#include "base/io.h"
#include "base/json.h"
#include "token/alphabet.h"
#include "token/export.h"

#define DATA "tests/golden/pre"
#define DIGEST 6                /* hexadecimal digits of each */

static int tests, failures;
static char dir[] = "/tmp/checkpre.XXXXXX";
static struct buf texts;        /* each ended by a NUL */
static cJSON *vocab, *expected;

static void
ok(int good, const char *name)
{
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++tests, name);
	failures += !good;
}

static struct buf
unpack(const char *name)
{
	char command[200];
	struct buf b = {0};
	FILE *f;

	snprintf(command, sizeof(command), "gzip -dc %s/%s", DATA, name);
	f = popen(command, "r");
	if (!f || io_slurp(fileno(f), &b, 64 << 20) < 0 || pclose(f) != 0)
		die(FAIL_SYSTEM, "cannot unpack %s/%s", DATA, name);
	return b;
}

static cJSON *
unpack_json(const char *name)
{
	struct buf b = unpack(name);
	cJSON *o = json_parse((char *)b.p, b.n);

	if (!o)
		die_failed();
	buf_free(&b);
	return o;
}

static const cJSON *
get(const cJSON *o, const char *key)
{
	return cJSON_GetObjectItemCaseSensitive(o, key);
}

static const char *
path_of(const char *name)
{
	static char path[300];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void
put(const char *name, const void *p, size_t n)
{
	FILE *f = fopen(path_of(name), "w");

	if (!f || fwrite(p, 1, n, f) != n || fclose(f) != 0)
		die(FAIL_SYSTEM, "cannot write '%s'", path_of(name));
}

static int
is_digest(const void *p, size_t n, const char *want)
{
	struct sha256_ctx sha;
	uint8_t d[SHA256_DIGEST_SIZE];
	char hex[DIGEST + 1];

	sha256_init(&sha);
	sha256_update(&sha, n, p);
	sha256_digest(&sha, sizeof(d), d);
	snprintf(hex, sizeof(hex), "%02x%02x%02x", d[0], d[1], d[2]);
	return memcmp(hex, want, DIGEST) == 0;
}

/* Encode every step-th text and decode its ids. Returns the number of texts that differ. */
static int
compare(const char *model, const cJSON *want, int step)
{
	struct tokenizer *t = tokenizer_open(model);
	const char *ids_want = get(want, "ids")->valuestring;
	const char *text_want = get(want, "text")->valuestring;
	const char *end = (char *)texts.p + texts.n;
	struct buf back = {0};
	int32_t *ids = NULL;
	size_t cap = 0, k = 0;
	int bad = 0;

	if (!t)
		die_failed();
	for (const char *s = (char *)texts.p; s < end; s += strlen(s) + 1, k++) {
		size_t n = 0;

		if (k % (size_t)step != 0)
			continue;
		if (tokenizer_encode(t, s, strlen(s), &ids, &n, &cap) < 0)
			die_failed();
		back.n = 0;
		for (size_t i = 0; i < n; i++) {
			size_t len;
			const char *p = tokenizer_bytes(t, ids[i], &len);

			if (buf_add(&back, p, len) < 0)
				die_failed();
		}
		if (!is_digest(ids, n * sizeof(*ids), ids_want + k * DIGEST) ||
		    !is_digest(back.p, back.n, text_want + k * DIGEST)) {
			if (bad++ < 3)
				printf("# text %zu: %.200s\n", k, s);
		}
	}
	free(ids);
	buf_free(&back);
	tokenizer_close(t);
	return bad;
}

/* --- tokenizer.json --- */

static void
write_folder(const cJSON *pre)
{
	cJSON *o = cJSON_CreateObject(), *added = cJSON_AddArrayToObject(o, "added_tokens"), *model;
	int id = cJSON_GetArraySize(get(vocab, "vocab"));
	char *text;

	for (int special = 1; special >= 0; special--) {
		const cJSON *v;

		cJSON_ArrayForEach(v, get(vocab, special ? "special" : "added")) {
			cJSON *a = cJSON_CreateObject();

			cJSON_AddNumberToObject(a, "id", id++);
			cJSON_AddStringToObject(a, "content", v->valuestring);
			cJSON_AddBoolToObject(a, "special", special);
			cJSON_AddItemToArray(added, a);
		}
	}
	cJSON_AddItemToObject(o, "normalizer", cJSON_Duplicate(get(pre, "normalizer"), 1));
	cJSON_AddItemToObject(o, "pre_tokenizer", cJSON_Duplicate(get(pre, "pre_tokenizer"), 1));
	cJSON_AddStringToObject(cJSON_AddObjectToObject(o, "decoder"), "type", "ByteLevel");
	model = cJSON_AddObjectToObject(o, "model");
	cJSON_AddStringToObject(model, "type", "BPE");
	cJSON_AddItemToObject(model, "ignore_merges",
	    cJSON_Duplicate(get(pre, "ignore_merges"), 1));
	cJSON_AddItemToObject(model, "vocab", cJSON_Duplicate(get(vocab, "vocab"), 1));
	cJSON_AddItemToObject(model, "merges", cJSON_Duplicate(get(vocab, "merges"), 1));
	text = cJSON_PrintUnformatted(o);
	put("tokenizer.json", text, strlen(text));
	free(text);
	cJSON_Delete(o);
}

/* --- GGUF --- */

/* What differs from a good file. */
struct wrong {
	const char *model, *without;    /* tokenizer.ggml.model; a key that is left out */
	int types, bos, type;           /* types left out; BOS id,
	    0: none; type of the first token */
};

static void
add_number(struct buf *b, uint64_t v, int bytes)
{
	if (buf_add(b, &v, (size_t)bytes) < 0)
		die_failed();
}

static void
add_string(struct buf *b, const char *s, size_t n)
{
	add_number(b, n, 8);
	if (buf_add(b, s, n) < 0)
		die_failed();
}

static int
add_key(struct buf *b, const char *key, uint32_t type, const struct wrong *w, int *keys)
{
	if (w->without && strcmp(w->without, key) == 0)
		return 0;
	add_string(b, key, strlen(key));
	add_number(b, type, 4);
	++*keys;
	return 1;
}

static void
add_array(struct buf *b, uint32_t type, int n)
{
	add_number(b, type, 4);
	add_number(b, (uint64_t)n, 8);
}

static void
write_gguf(const char *pre, const struct wrong *w)
{
	int plain = cJSON_GetArraySize(get(vocab, "vocab"));
	int special = cJSON_GetArraySize(get(vocab, "special"));
	int n = plain + special + cJSON_GetArraySize(get(vocab, "added")) + 1, keys = 0;
	struct buf b = {0}, head = {0};
	const cJSON *v;

	if (add_key(&b, "tokenizer.ggml.model", GGUF_STRING, w, &keys))
		add_string(&b, w->model ? w->model : "gpt2", 4);
	if (pre && add_key(&b, "tokenizer.ggml.pre", GGUF_STRING, w, &keys))
		add_string(&b, pre, strlen(pre));
	if (add_key(&b, "tokenizer.ggml.tokens", GGUF_ARRAY, w, &keys)) {
		add_array(&b, GGUF_STRING, n);
		cJSON_ArrayForEach(v, get(vocab, "vocab"))
			add_string(&b, v->string, strlen(v->string));
		cJSON_ArrayForEach(v, get(vocab, "special"))
			add_string(&b, v->valuestring, strlen(v->valuestring));
		cJSON_ArrayForEach(v, get(vocab, "added"))
			add_string(&b, v->valuestring, strlen(v->valuestring));
		add_string(&b, "[PAD]", 5);
	}
	if (add_key(&b, "tokenizer.ggml.token_type", GGUF_ARRAY, w, &keys)) {
		add_array(&b, GGUF_INT32, n - w->types);
		for (int i = 0; i < n - w->types; i++)
			add_number(&b, i == 0 && w->type ? (uint64_t)w->type : i < plain ? 1 :
			    i < plain + special ? 3 : i < n - 1 ? 4 : 5, 4);
	}
	if (add_key(&b, "tokenizer.ggml.merges", GGUF_ARRAY, w, &keys)) {
		add_array(&b, GGUF_STRING, cJSON_GetArraySize(get(vocab, "merges")));
		cJSON_ArrayForEach(v, get(vocab, "merges")) {
			char merge[200];
			const cJSON *left = v->child;
			int len = snprintf(merge, sizeof(merge), "%s %s", left->valuestring,
			    left->next->valuestring);

			add_string(&b, merge, (size_t)len);
		}
	}
	if (w->bos && add_key(&b, "tokenizer.ggml.bos_token_id", GGUF_UINT32, w, &keys))
		add_number(&b, (uint64_t)w->bos, 4);
	if (add_key(&b, "tokenizer.ggml.add_bos_token", GGUF_BOOL, w, &keys))
		add_number(&b, w->bos != 0, 1);
	if (buf_add(&head, "GGUF", 4) < 0)
		die_failed();
	add_number(&head, 3, 4);
	add_number(&head, 0, 8);
	add_number(&head, (uint64_t)keys, 8);
	if (buf_add(&head, b.p, b.n) < 0)
		die_failed();
	put("model.gguf", head.p, head.n);
	buf_free(&b);
	buf_free(&head);
}

static void
check_refused(void)
{
	static const struct { struct wrong w; const char *pre, *why; } all[] = {
		{{.model = "bert"}, "qwen2", "tokenizer.ggml.model is 'bert', which is "
		    "not supported: only gpt2 is"},
		{{.without = "tokenizer.ggml.model"}, "qwen2",
		    "key 'tokenizer.ggml.model' is missing"},
		{{.without = "tokenizer.ggml.tokens"}, "qwen2",
		    "key 'tokenizer.ggml.tokens' is missing"},
		{{.without = "tokenizer.ggml.merges"}, "qwen2",
		    "key 'tokenizer.ggml.merges' is missing"},
		{{0}, "qwen", "tokenizer.ggml.pre is 'qwen', an unknown pre-tokenizer"},
		{{0}, "qwen22", "tokenizer.ggml.pre is 'qwen22', an unknown pre-tokenizer"},
		{{.types = 1}, "qwen2", "tokenizer.ggml.token_type has 3008 types for 3009 tokens"},
		{{.type = 6}, "qwen2", "token 0 has type 6, which is not supported"},
		{{.bos = 3009}, "qwen2",
		    "key 'tokenizer.ggml.bos_token_id' is 3009, must be 0 to 3008"},
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		struct tokenizer *t;

		write_gguf(all[i].pre, &all[i].w);
		t = tokenizer_open(path_of("model.gguf"));
		ok(!t && strstr(fail_text(), all[i].why) &&
		    strstr(fail_text(), path_of("model.gguf")), all[i].why);
		if (t || !strstr(fail_text(), all[i].why))
			printf("# %s\n", t ? "opened" : fail_text());
		tokenizer_close(t);
	}
}

/* --- export --- */

/* Export the GGUF file to the folder, whose file for this name has these ids. */
static void
check_export(const char *name, const cJSON *want)
{
	struct export e = {0};
	struct buf b = {0};
	char what[100];
	int good;

	if (export_open(&e, path_of("model.gguf")) < 0 || export_tokenizer(&e, &b) < 0)
		die_failed();
	good = e.pre && (strcmp(e.pre->name, name) == 0 || strcmp(name, "deepseek-r1-qwen") == 0) &&
	    e.n == 3009 && e.types[3008] == GGUF_TOKEN_UNUSED;
	put("tokenizer.json", b.p, b.n);
	snprintf(what, sizeof(what), "%s exported from a GGUF file", name);
	ok(good && compare(dir, want, 10) == 0, what);
	buf_free(&b);
	export_close(&e);
}

/* --- ranks --- */

static void
write_ranks(void)
{
	static const char settings[] = "{\"auto_map\": {\"AutoTokenizer\": "
	    "[\"tokenization_kimi.TikTokenTokenizer\", null]}, "
	    "\"added_tokens_decoder\": {";
	struct buf ranks = {0}, config = {0};
	const cJSON *v;
	int id = cJSON_GetArraySize(get(vocab, "vocab"));
	const char *comma = "";

	cJSON_ArrayForEach(v, get(vocab, "vocab")) {
		char bytes[100], text[150] = "";
		ptrdiff_t n = alphabet_bytes(bytes, v->string, strlen(v->string), NULL);

		base64_encode_raw(text, (size_t)n, (uint8_t *)bytes);
		if (buf_addf(&ranks, "%s %d\n", text, v->valueint) < 0)
			die_failed();
	}
	if (buf_add(&config, settings, sizeof(settings) - 1) < 0)
		die_failed();
	for (int special = 1; special >= 0; special--)
		cJSON_ArrayForEach(v, get(vocab, special ? "special" : "added")) {
			if (buf_addf(&config, "%s\"%d\": {\"content\": \"%s\", \"special\": %s}",
			    comma,
			    id++, v->valuestring, special ? "true" : "false") < 0)
				die_failed();
			comma = ", ";
		}
	if (buf_addf(&config, "}}") < 0)
		die_failed();
	put("tiktoken.model", ranks.p, ranks.n);
	put("tokenizer_config.json", config.p, config.n);
	buf_free(&ranks);
	buf_free(&config);
}

static void
check_ranks(void)
{
	const cJSON *want = get(expected, "tiktoken");
	struct export e = {0};
	struct buf b = {0};
	struct tokenizer *t;

	unlink(path_of("tokenizer.json"));
	write_ranks();
	ok(compare(dir, want, 1) == 0, "tiktoken.model with Kimi's pattern");
	t = tokenizer_open(dir);
	ok(t && tokenizer_id(t, "<|reserved_token_3010|>") == 3010 &&
	    tokenizer_is_special(t, 3010) &&
	    tokenizer_id(t, "<think>") == 3004 && !tokenizer_is_special(t, 3004),
	    "its ids without a name are reserved");
	tokenizer_close(t);
	if (export_open(&e, dir) < 0 || export_tokenizer(&e, &b) < 0)
		die_failed();
	unlink(path_of("tiktoken.model"));
	put("tokenizer.json", b.p, b.n);
	ok(e.pre && strcmp(e.pre->name, "kimi-k2") == 0 && compare(dir, want, 10) == 0,
	    "and as tokenizer.json");
	buf_free(&b);
	export_close(&e);
	unlink(path_of("tokenizer_config.json"));
	unlink(path_of("tokenizer.json"));
}

int
main(void)
{
	const cJSON *pre;

	program = "checkpre";
	if (!mkdtemp(dir))
		die(FAIL_SYSTEM, "cannot make '%s':", dir);
	texts = unpack("texts.gz");
	vocab = unpack_json("vocab.json.gz");
	expected = unpack_json("expected.json.gz");
	cJSON_ArrayForEach(pre, expected) {
		char what[100];

		if (strcmp(pre->string, "tiktoken") == 0)
			continue;
		write_folder(pre);
		snprintf(what, sizeof(what), "%s in tokenizer.json: 2000 texts", pre->string);
		ok(compare(dir, pre, 1) == 0, what);
		write_gguf(pre->string, &(struct wrong){0});
		snprintf(what, sizeof(what), "%s in a GGUF file: 2000 texts", pre->string);
		ok(compare(path_of("model.gguf"), pre, 1) == 0, what);
		check_export(pre->string, pre);
	}
	write_gguf(NULL, &(struct wrong){0});
	ok(compare(path_of("model.gguf"), get(expected, "default"), 10) == 0,
	    "a GGUF file without a name has default");
	check_ranks();
	check_refused();
	unlink(path_of("model.gguf"));
	rmdir(dir);
	cJSON_Delete(vocab);
	cJSON_Delete(expected);
	buf_free(&texts);
	printf("1..%d\n", tests);
	return failures > 0;
}
