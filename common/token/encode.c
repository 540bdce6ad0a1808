/* From text to ids: added tokens, then the pre-tokenizer's splits, then byte-pair encoding. */
#include <string.h>

#include "token/tokenizer.h"
#include "base/utf8.h"

static int
encode_plain(struct tokenizer *t, const char *p, size_t n, struct ids *ids)
{
	size_t from = 0;

	t->cuts.n = 0;
	if (mem_grow(&t->cuts.end, &t->cuts.cap, 1, sizeof(*t->cuts.end)) < 0)
		return -1;
	t->cuts.end[t->cuts.n++] = n;
	for (int s = 0; s < t->nsplits; s++) {
		struct cuts swap = t->cuts;

		t->finer.n = 0;
		from = 0;
		for (size_t i = 0; i < t->cuts.n; from = t->cuts.end[i++])
			if (pattern_split(t->splits[s], p + from, t->cuts.end[i] - from, from, &t->finer) < 0)
				return -1;
		t->cuts = t->finer;
		t->finer = swap;
	}
	from = 0;
	for (size_t i = 0; i < t->cuts.n; from = t->cuts.end[i++])
		if (bpe_encode(&t->bpe, p + from, t->cuts.end[i] - from, ids) < 0)
			return -1;
	return 0;
}

/* The first added token in the text: its id, where it is, how long; -1 where there is none.
 * Of several that begin there it is the longest. */
static int32_t
added_next(const struct added *a, const char *p, size_t n, size_t *at, size_t *len)
{
	for (size_t i = 0; i < n; i++) {
		if (!a->first[(unsigned char)p[i]])
			continue;
		for (size_t k = 0; k < a->nlengths; k++) {
			intptr_t id = a->lengths[k] > n - i ? 0 : (intptr_t)table_get(&a->ids, p + i, a->lengths[k]);

			if (id) {
				*at = i;
				*len = a->lengths[k];
				return (int32_t)(id - 1);
			}
		}
	}
	return -1;
}

/* Tokens of the second set are found only in what those of the first leave. */
static int
encode_part(struct tokenizer *t, int set, const char *p, size_t n, struct ids *ids)
{
	size_t at, len;
	int32_t id;

	while (n > 0 && set < 2 && (id = added_next(&t->added[set], p, n, &at, &len)) >= 0) {
		if (encode_part(t, set + 1, p, at, ids) < 0 || ids_add(ids, id) < 0)
			return -1;
		p += at + len;
		n -= at + len;
	}
	if (n == 0)
		return 0;
	return set < 2 ? encode_part(t, set + 1, p, n, ids) : encode_plain(t, p, n, ids);
}

int
tokenizer_encode(struct tokenizer *t, const char *text, size_t n,
    int32_t **ids, size_t *count, size_t *cap)
{
	struct ids to = {ids, count, cap};

	t->text.n = 0;
	if (utf8_clean(&t->text, text, n) < 0)
		return -1;
	return encode_part(t, 0, (const char *)t->text.p, t->text.n, &to);
}
