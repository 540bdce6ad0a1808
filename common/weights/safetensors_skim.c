/* safetensors_skim: the header in place, if it is as libraries write it.  In the tree that
 * json_parse makes of it each tensor has 17 allocations, which would be most of a small stage's
 * start. */
#include <stdlib.h>
#include <string.h>

#include "base/json_skim.h"
#include "base/mem.h"
#include "weights/safetensors.h"

#define ENTRY 96                        /* bytes of the header that a tensor takes, about */

static int
is(const char *text, size_t n, const char *word)
{
	return strlen(word) == n && memcmp(text, word, n) == 0;
}

/* A string of ASCII without escapes. */
static int
plain(struct json_skim *s, const char **text, size_t *n)
{
	int escaped;

	if (!skim_string(s, text, n, &escaped) || escaped)
		return 0;
	for (size_t i = 0; i < *n; i++)
		if ((*text)[i] & 0x80)
			return 0;
	return 1;
}

static int
plain_key(struct json_skim *s, const char **text, size_t *n)
{
	return plain(s, text, n) && skim_char(s, ':');
}

/* {"format": "pt"} */
static int
skim_metadata(struct json_skim *s)
{
	const char *text;
	size_t n;

	if (!skim_char(s, '{'))
		return 0;
	if (skim_char(s, '}'))
		return 1;
	do
		if (!plain_key(s, &text, &n) || !plain(s, &text, &n))
			return 0;
	while (skim_char(s, ','));
	return skim_char(s, '}');
}

/* At most max integers, in brackets. */
static int
skim_sizes(struct json_skim *s, uint64_t *sizes, int max, int *n)
{
	*n = 0;
	if (!skim_char(s, '['))
		return 0;
	if (skim_char(s, ']'))
		return 1;
	do
		if (*n == max || !skim_whole(s, &sizes[(*n)++]))
			return 0;
	while (skim_char(s, ','));
	return skim_char(s, ']');
}

/* {"dtype": "F32", "shape": [2, 6], "data_offsets": [0, 48]} in any order */
static int
skim_tensor(struct json_skim *s, struct tensor_entry *t, uint64_t data)
{
	uint64_t offsets[2];
	const char *key, *dtype = NULL;
	size_t n, len = 0;
	int r, shape = 0, places = 0;

	if (!skim_char(s, '{'))
		return 0;
	do {
		if (!plain_key(s, &key, &n))
			return 0;
		if (is(key, n, "dtype") && !dtype)
			r = plain(s, &dtype, &len);
		else if (is(key, n, "shape") && !shape++)
			r = skim_sizes(s, t->shape, TENSOR_RANK_MAX, &t->rank);
		else
			r = is(key, n, "data_offsets") && places == 0 &&
			    skim_sizes(s, offsets, 2, &places) && places == 2;
		if (!r)
			return 0;
	} while (skim_char(s, ','));
	if (!skim_char(s, '}') || !dtype || !shape || !places)
		return 0;
	t->begin = offsets[0];
	t->end = offsets[1];
	return safetensors_entry(t, dtype, len, data) == 0;
}

/* 1, 0 or -1 as safetensors_skim; the names go to f->text. */
static int
skim_header(struct tensor_file *f, struct json_skim *s, size_t cap, uint64_t data)
{
	char *name = f->text;
	int metadata = 0;

	if (!skim_char(s, '{'))
		return 0;
	do {
		struct tensor_entry *t;
		const char *key;
		size_t n;

		if (!plain_key(s, &key, &n))
			return 0;
		if (is(key, n, "__metadata__")) {
			if (metadata++ || !skim_metadata(s))
				return 0;
			continue;
		}
		if (mem_grow(&f->tensors, &cap, f->n + 1, sizeof(*f->tensors)) < 0)
			return -1;
		t = &f->tensors[f->n++];
		*t = (struct tensor_entry){.name = name};
		memcpy(name, key, n);
		name[n] = 0;
		name += n + 1;
		if (!skim_tensor(s, t, data))
			return 0;
	} while (skim_char(s, ','));
	if (!skim_char(s, '}'))
		return 0;
	skim_space(s);
	return s->p == s->end;
}

int
safetensors_skim(struct tensor_file *f, const char *text, size_t n)
{
	struct json_skim s = {text, text + n};
	size_t cap = n / ENTRY + 1;
	int r;

	if (!(f->tensors = mem_raw(cap, sizeof(*f->tensors))))
		return -1;
	r = skim_header(f, &s, cap, 8 + n);
	if (r > 0)
		return 1;
	free(f->tensors);
	f->tensors = NULL;
	f->n = 0;
	return r;
}
