/* The files of a folder for the tokenizer of a model. */
#include <string.h>

#include "base/fail.h"
#include "base/utf8.h"
#include "token/export.h"
#include "token/tokenizer.h"

static int
add(struct buf *to, const char *s)
{
	return buf_add(to, s, strlen(s));
}

static int
quote(struct buf *to, struct export_string s)
{
	size_t step;

	for (size_t i = 0; i < s.n; i += step)
		if (utf8_next((const unsigned char *)s.s + i, s.n - i, &step) != UTF8_CHAR)
			return fail(FAIL_DATA, "a token is not UTF-8");
	return json_quote(to, s.s, s.n);
}

static int
quote_text(struct buf *to, const char *s)
{
	return quote(to, (struct export_string){s, strlen(s)});
}

static const char *
truth(int value)
{
	return value ? "true" : "false";
}

static int
is_added(const struct export *e, size_t id)
{
	return e->types[id] == GGUF_TOKEN_CONTROL || e->types[id] == GGUF_TOKEN_USER_DEFINED;
}

static int
add_added(const struct export *e, struct buf *to)
{
	const struct table *normalized = &e->tokenizer->added[1].ids;
	const char *comma = "";

	if (add(to, "  \"added_tokens\": [") < 0)
		return -1;
	for (size_t i = 0; i < e->n; i++) {
		if (!is_added(e, i))
			continue;
		if (buf_addf(to, "%s\n    {\"id\": %zu, \"content\": ", comma, i) < 0 ||
		    quote(to, e->tokens[i]) < 0 ||
		    buf_addf(to,
		    ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
		    "\"normalized\": %s, "
		    "\"special\": %s}", truth(table_get(normalized, e->tokens[i].s,
		    e->tokens[i].n) != NULL),
		    truth(e->types[i] == GGUF_TOKEN_CONTROL)) < 0)
			return -1;
		comma = ",";
	}
	return add(to, "\n  ],\n");
}

/* The splits, then ByteLevel. */
static int
add_pre_tokenizer(const struct export *e, struct buf *to)
{
	const struct tokenizer *t = e->tokenizer;

	if (buf_addf(to,
	    "  \"normalizer\": %s,\n  \"pre_tokenizer\": {\"type\": \"Sequence\", "
	    "\"pretokenizers\": [\n",
	    t->nfc ? "{\"type\": \"NFC\"}" : "null") < 0)
		return -1;
	for (int i = 0; i < t->nsplits; i++)
		if (add(to, "    {\"type\": \"Split\", \"pattern\": {\"Regex\": ") < 0 ||
		    quote_text(to, t->regexes[i]) < 0 ||
		    add(to, "}, \"behavior\": \"Isolated\", \"invert\": false},\n") < 0)
			return -1;
	return add(to,
	    "    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
	    "\"use_regex\": false}\n  ]},\n");
}

/* A token of the template; listing puts it into special_tokens instead. */
static int
add_special(const struct export *e, struct buf *to, int64_t id, int listing)
{
	struct export_string s = e->tokens[id];

	if (!listing)
		return add(to, "{\"SpecialToken\": {\"id\": ") < 0 || quote(to, s) < 0 ? -1 :
		    add(to, ", \"type_id\": 0}}");
	return quote(to, s) < 0 || add(to, ": {\"id\": ") < 0 || quote(to, s) < 0 ||
	    buf_addf(to, ", \"ids\": [%lld], \"tokens\": [", (long long)id) < 0 ||
	    quote(to, s) < 0 ? -1 :
	    add(to, "]}");
}

static int
add_post_processor(const struct export *e, struct buf *to)
{
	int64_t bos = e->add_bos ? e->ids[GGUF_BOS] : -1, eos = e->add_eos ? e->ids[GGUF_EOS] : -1;

	if (bos < 0 && eos < 0)
		return add(to, "  \"post_processor\": null,\n");
	if (add(to, "  \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [") < 0 ||
	    (bos >= 0 && (add_special(e, to, bos, 0) < 0 || add(to, ", ") < 0)) ||
	    add(to, "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}") < 0 ||
	    (eos >= 0 && (add(to, ", ") < 0 || add_special(e, to, eos, 0) < 0)) ||
	    add(to, "], \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
	    "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {") < 0)
		return -1;
	if ((bos >= 0 && add_special(e, to, bos, 1) < 0) ||
	    (eos >= 0 && eos != bos && (add(to, bos >= 0 ? ", " : "") < 0 ||
	    add_special(e, to, eos, 1) < 0)))
		return -1;
	return add(to, "}},\n");
}

/* Added tokens are in the vocabulary, too: the tokenizers library numbers others anew. */
static int
add_model(const struct export *e, struct buf *to)
{
	const char *comma = "";

	if (buf_addf(to, "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
	    "\"continuing_subword_prefix\": \"\", \"end_of_word_suffix\": \"\", "
	    "\"fuse_unk\": false, "
	    "\"byte_fallback\": false, \"ignore_merges\": %s, \"vocab\": {",
	    truth(e->tokenizer->bpe.ignore_merges)) < 0)
		return -1;
	for (size_t i = 0; i < e->n; i++) {
		if (e->types[i] == GGUF_TOKEN_UNUSED)
			continue;
		if (buf_addf(to, "%s\n    ", comma) < 0 || quote(to, e->tokens[i]) < 0 ||
		    buf_addf(to, ": %zu", i) < 0)
			return -1;
		comma = ",";
	}
	if (add(to, "\n  }, \"merges\": [") < 0)
		return -1;
	for (size_t m = 0; m < e->nmerges; m++)
		if (add(to, m ? ",\n    " : "\n    ") < 0 || quote(to, e->merges[m]) < 0)
			return -1;
	return add(to, "\n  ]}\n");
}

int
export_tokenizer(const struct export *e, struct buf *to)
{
	return add(to,
	    "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n") < 0 ||
	    add_added(e, to) < 0 || add_pre_tokenizer(e, to) < 0 || add_post_processor(e, to) < 0 ||
	    add(to, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
	    "\"trim_offsets\": true, \"use_regex\": true},\n") < 0 || add_model(e, to) < 0 ?
	    -1 : add(to, "}\n");
}

static int
add_template(const struct export *e, struct buf *to)
{
	if (!e->template)
		return 0;
	if (!e->tool_use)
		return add(to, ",\n  \"chat_template\": ") < 0 ? -1 : quote_text(to, e->template);
	return add(to, ",\n  \"chat_template\": [{\"name\": \"default\", \"template\": ") < 0 ||
	    quote_text(to, e->template) < 0 ||
	    add(to, "}, {\"name\": \"tool_use\", \"template\": ") < 0 ||
	    quote_text(to, e->tool_use) < 0 ? -1 : add(to, "}]");
}

int
export_settings(const struct export *e, struct buf *to)
{
	if (add(to, "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
	    "  \"clean_up_tokenization_spaces\": false") < 0)
		return -1;
	for (int i = 0; i < GGUF_IDS; i++) {
		if (i != GGUF_BOS && i != GGUF_EOS && e->ids[i] < 0)
			continue;
		if (buf_addf(to, ",\n  \"%s\": ", gguf_id_names[i]) < 0 ||
		    (e->ids[i] < 0 ? add(to, "null") : quote(to, e->tokens[e->ids[i]])) < 0)
			return -1;
	}
	return add_template(e, to) < 0 ? -1 : add(to, "\n}\n");
}
