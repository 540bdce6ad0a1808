#include "inspect/diff/named_frame.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/json.h"

static int
by_position(const void *a, const void *b)
{
	const struct span *s = &((const struct named_span *)a)->is;
	const struct span *t = &((const struct named_span *)b)->is;

	if (s->seq != t->seq)
		return s->seq < t->seq ? -1 : 1;
	return (s->pos > t->pos) - (s->pos < t->pos);
}

/* Parse a number at *p and the text `end` after it. */
static int
read_number(const char **p, const char *end, uint64_t max, uint64_t *out)
{
	char *stop;

	*p += strspn(*p, " ");
	if (!isdigit((unsigned char)**p))
		return -1;
	errno = 0;
	*out = strtoull(*p, &stop, 10);
	if (errno || *out > max)
		return -1;
	*p = stop + strspn(stop, " ");
	if (strncmp(*p, end, strlen(end)) != 0)
		return -1;
	*p += strlen(end);
	return 0;
}

/* Parse "[[SEQ, POS, N, FLAGS], ...]". Sequences have 64 bits, which JSON numbers cannot hold.
 * Returns 0 or -1. */
static int
read_spans(struct named_frame *n, const char *p)
{
	struct named_span s;
	size_t cap = 0;
	uint64_t v[4];

	if (*p++ != '[')
		return -1;
	while (*p == '[') {
		p++;
		if (read_number(&p, ",", UINT64_MAX, &v[0]) < 0 ||
		    read_number(&p, ",", FRAME_POS_MAX, &v[1]) < 0 ||
		    read_number(&p, ",", FRAME_POS_MAX, &v[2]) < 0 ||
		    read_number(&p, "]", UINT32_MAX, &v[3]) < 0)
			return -1;
		if (v[1] + v[2] > FRAME_POS_MAX || n->f.rows + v[2] > FRAME_POS_MAX ||
		    mem_grow(&n->sorted, &cap, (size_t)n->nsorted + 1, sizeof(*n->sorted)) < 0)
			return -1;
		s = (struct named_span){
		    {v[0], (uint32_t)v[1], (uint32_t)v[2], (uint32_t)v[3]}, n->f.rows, n->wanted};
		if (v[2] > 0)
			n->sorted[n->nsorted++] = s;
		n->f.rows += s.is.n;
		n->wanted +=
		    s.is.flags & SPAN_LOGITS ? s.is.n : s.is.flags & SPAN_SAMPLE && s.is.n > 0;
		p += *p == ',' ? 1 + strspn(p + 1, " ") : 0;
	}
	if (strcmp(p, "]") != 0)
		return -1;
	if (n->nsorted > 0)
		qsort(n->sorted, (size_t)n->nsorted, sizeof(*n->sorted), by_position);
	n->spans_known = 1;
	return 0;
}

static int
set_at(struct named_frame *n, const char *at, const char *layer)
{
	char *end = NULL;
	long l = layer ? strtol(layer, &end, 10) : -1;

	if (layer && (!isdigit((unsigned char)*layer) || *end || l > 1 << 24))
		return fail(FAIL_DATA, "its layer is '%.40s'", layer);
	n->f.at = at_parse(at, strlen(at));
	n->f.at_text = strdup(at);
	n->f.layer = (int)l;
	n->known = 1;
	return n->f.at_text ? 0 : fail(FAIL_SYSTEM, "no memory for a name");
}

static const char *
text_of(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsString(v) ? v->valuestring : NULL;
}

int
named_frame_metadata(struct named_frame *n, const struct tensor_file *s)
{
	const char *at, *spans, *done;
	cJSON *o;
	int r = 0;

	if (safetensors_metadata(s, &o) < 0)
		return -1;
	at = text_of(o, "at");
	spans = text_of(o, "spans");
	done = text_of(o, "experts_done");
	if (at && spans && text_of(o, "frame")) {
		if (read_spans(n, spans) < 0)
			r = fail(FAIL_DATA, "its spans are not valid");
		else if (set_at(n, at, text_of(o, "layer")) < 0)
			r = -1;
		else if (done && !(n->f.experts_done = strdup(done)))
			r = fail(FAIL_SYSTEM, "no memory for a name");
	}
	cJSON_Delete(o);
	return r < 0 ? fail_in("__metadata__") : 0;
}

/* Decode %XX in place. */
static void
decode(char *s)
{
	char *to = s;

	for (; *s; s++) {
		char hex[3] = {s[0] == '%' ? s[1] : 0, s[0] == '%' && s[1] ? s[2] : 0, 0};

		if (isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1])) {
			*to++ = (char)strtol(hex, NULL, 16);
			s += 2;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* the name is like "000012-attn-l3-h" */
int
named_frame_file(struct named_frame *n, const char *base, char **tensor)
{
	size_t digits = strspn(base, "0123456789");
	char *at, *layer = NULL, *name;
	int r = 0;

	*tensor = NULL;
	if (digits < 6 || base[digits] != '-')
		return 0;
	if (!(at = strdup(base + digits + 1)))
		return fail(FAIL_SYSTEM, "no memory for a name");
	name = strchr(at, '-');
	if (name && name[1] == 'l' && isdigit((unsigned char)name[2]) && strchr(name + 1, '-')) {
		layer = name + 2;
		*name = '\0';
		name = strchr(layer, '-');
	}
	if (name && name[1]) {
		*name++ = '\0';
		decode(at);
		decode(name);
		r = set_at(n, at, layer);
		if (r == 0 && !(*tensor = strdup(name)))
			r = fail(FAIL_SYSTEM, "no memory for a name");
	}
	free(at);
	return r;
}

int64_t
named_frame_row(const struct named_frame *n, uint64_t seq, uint32_t pos, int64_t *wanted)
{
	int from = 0, to = n->nsorted;

	*wanted = -1;
	while (from < to) {
		int i = from + (to - from) / 2;
		const struct named_span *s = &n->sorted[i];

		if (s->is.seq == seq && pos >= s->is.pos && pos - s->is.pos < s->is.n) {
			if (s->is.flags & SPAN_LOGITS)
				*wanted = (int64_t)s->wanted + (pos - s->is.pos);
			else if (s->is.flags & SPAN_SAMPLE && pos - s->is.pos == s->is.n - 1)
				*wanted = s->wanted;
			return (int64_t)s->row + (pos - s->is.pos);
		}
		if (s->is.seq < seq || (s->is.seq == seq && s->is.pos <= pos))
			from = i + 1;
		else
			to = i;
	}
	return -1;
}

int
named_frame_rename(struct named_frame *n, uint64_t seq)
{
	for (int i = 1; i < n->nsorted; i++)
		if (n->sorted[i].is.seq != n->sorted[0].is.seq)
			return -1;
	for (int i = 0; i < n->nsorted; i++)
		n->sorted[i].is.seq = seq;
	return 0;
}

void
named_frame_close(struct named_frame *n)
{
	free((char *)(uintptr_t)n->f.at_text);
	free((char *)(uintptr_t)n->f.experts_done);
	free(n->sorted);
	memset(n, 0, sizeof(*n));
}
