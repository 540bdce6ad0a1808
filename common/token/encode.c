/* Text to ids: added tokens, then the pre-tokenizer's splits, then byte-pair encoding. */
#include <string.h>

#include "base/utf8.h"
#include "token/normal.h"
#include "token/tokenizer.h"

static int encode_part(struct tokenizer *t, int set, const char *p, size_t n, struct ids *ids);

static int
encode_plain(struct tokenizer *t, const char *p, size_t n, struct ids *ids)
{
	size_t from = 0;

	t->cuts.n = 0;
	if (mem_grow(&t->cuts.end, &t->cuts.cap, 1, sizeof(*t->cuts.end)) < 0)
		return -1;
	t->cuts.end[t->cuts.n++] = n;
	pattern_begin(&t->time);
	for (int s = 0; s < t->nsplits; s++) {
		struct cuts swap = t->cuts;

		t->finer.n = 0;
		from = 0;
		for (size_t i = 0; i < t->cuts.n; from = t->cuts.end[i++])
			if (pattern_split(t->splits[s], p + from, t->cuts.end[i] - from, from,
			    &t->time, &t->finer) < 0)
				return -1;
		t->cuts = t->finer;
		t->finer = swap;
	}
	pattern_pause(&t->time);
	from = 0;
	for (size_t i = 0; i < t->cuts.n; from = t->cuts.end[i++])
		if (bpe_encode(&t->bpe, p + from, t->cuts.end[i] - from, ids) < 0)
			return -1;
	return 0;
}

/* Normalize; then the tokens of the second set are searched. */
static int
encode_normal(struct tokenizer *t, const char *p, size_t n, struct ids *ids)
{
	int r;

	t->normal.n = 0;
	r = t->nfc ? normal_nfc(&t->normal, p, n) : 0;
	if (r > 0) {
		p = (const char *)t->normal.p;
		n = t->normal.n;
	}
	return r < 0 ? -1 : encode_part(t, 1, p, n, ids);
}

static int
encode_rest(struct tokenizer *t, int set, const char *p, size_t n, struct ids *ids)
{
	if (n == 0)
		return 0;
	return set == 0 ? encode_normal(t, p, n, ids) : encode_plain(t, p, n, ids);
}

/* Tokens of the second set are searched only between matches of the first. */
static int
encode_part(struct tokenizer *t, int set, const char *p, size_t n, struct ids *ids)
{
	struct added *a = &t->added[set];
	size_t done = 0, to;

	for (size_t from = 0; from < n; from = to) {
		if (added_search(a, p, n, from, &to) < 0)
			return -1;
		while (a->nmatches > 0) {
			struct added_match m = a->matches[--a->nmatches];

			if (m.at < done)
				continue;
			if (encode_rest(t, set, p + done, m.at - done, ids) < 0 ||
			    ids_add(ids, m.id) < 0)
				return -1;
			done = m.at + m.len;
		}
	}
	return encode_rest(t, set, p + done, n - done, ids);
}

int
tokenizer_encode(struct tokenizer *t, const char *text, size_t n,
    int32_t **ids, size_t *count, size_t *cap)
{
	struct ids to = {ids, count, cap};

	t->text.n = 0;
	t->time = (struct pattern_time){.limit = PATTERN_TIME(n)};
	if (utf8_clean(&t->text, text, n) < 0)
		return -1;
	return encode_part(t, 0, (const char *)t->text.p, t->text.n, &to);
}
