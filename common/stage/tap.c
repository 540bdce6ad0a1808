#include "stage/tap.h"

#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "device/ops.h"

/* For -h, 80 columns at most: the shapes are those of dspipe(7). */
static const struct {
	const char *name, *shape, *what;
	int is_i32;                     /* else F32 */
} taps[TAPS] = {
	[TAP_ATTN_NORM + ATTENTION_NORM] = {"attn.norm", "[T,D]", "input after the norm"},
	[TAP_ATTN_NORM + ATTENTION_Q] =
	    {"attn.q", "[T,H,N+r]", "queries, the last r rotated; of GQA [T,H,d]"},
	[TAP_ATTN_NORM + ATTENTION_K] = {"attn.k", "[T,G,d]", "rotated keys, of GQA"},
	[TAP_ATTN_NORM + ATTENTION_V] = {"attn.v", "[T,G,d]", "values, of GQA"},
	[TAP_ATTN_NORM + ATTENTION_LATENT] =
	    {"attn.latent", "[T,R]", "normed latent, as the KV cache stores it; of MLA"},
	[TAP_ATTN_NORM + ATTENTION_KROPE] =
	    {"attn.krope", "[T,r]", "rotated key that all heads share; of MLA"},
	[TAP_ATTN_NORM + ATTENTION_INDEX] =
	    {"attn.index", "[T,C]", "positions that the indexer chose", 1},
	[TAP_ATTN_NORM + ATTENTION_PROBS] =
	    {"attn.probs", "[T,H,P]", "probability of each position"},
	[TAP_ATTN_NORM + ATTENTION_HEADS] = {"attn.heads", "[T,H,D]", "contribution of each head"},
	[TAP_ATTN_NORM + ATTENTION_OUT] = {"attn.out", "[T,D]", "sum of all heads"},
	[TAP_ROUTE_NORM] = {"route.norm", "[T,D]", "input after the norm"},
	[TAP_ROUTE_SCORES] = {"route.scores", "[T,E]", "score of each expert"},
	[TAP_ROUTE_CHOICE] = {"route.choice", "[T,E]", "scores plus bias, -inf in excluded groups"},
	[TAP_EXPERT_IN] = {"expert.in", "[T,D]", "input after the norm"},
	[TAP_EXPERT_EACH] =
	    {"expert.each", "[T,K,D]", "weighted contribution of each chosen expert"},
	[TAP_EXPERT_SHARED] =
	    {"expert.shared", "[T,D]", "contribution of the shared experts or dense MLP"},
	[TAP_EXPERT_OUT] = {"expert.out", "[T,D]", "sum of all contributions"},
	[TAP_HEAD_NORM] = {"head.norm", "[W,D]", "rows after the final norm"},
	[TAP_HEAD_HIDDEN] = {TAP_HIDDEN, "[T,D]", "all rows after the final norm, for ds-draft"},
};

enum tap
tap_find(const char *name, size_t n)
{
	enum tap i = 0;

	while (i < TAPS && (strlen(taps[i].name) != n || memcmp(taps[i].name, name, n) != 0))
		i++;
	return i;
}

int
tap_parse(uint64_t *on, uint64_t offered, const char *text)
{
	for (const char *p = text;; p++) {
		size_t n = strcspn(p, ",");
		enum tap i = tap_find(p, n);

		if (i < TAPS && offered & TAP_BIT(i))
			*on |= TAP_BIT(i);
		else if (n == 3 && memcmp(p, "all", 3) == 0)
			/* head.hidden repeats rows of head.norm, and is for ds-draft */
			*on |= (offered & ~TAP_BIT(TAP_HEAD_HIDDEN)) | TAP_ALL;
		else
			return fail(FAIL_USAGE, "unknown tap '%.*s': --tap '?' lists the names",
			    (int)n, p);
		p += n;
		if (*p == '\0')
			return 0;
	}
}

void
tap_list(uint64_t offered)
{
	for (int i = 0; i < TAPS; i++)
		if (offered & TAP_BIT(i))
			printf("%-14s %s %-9s %s\n", taps[i].name, taps[i].is_i32 ? "I32" : "F32",
			    taps[i].shape, taps[i].what);
}

char *
tap_name(enum tap tap, int layer, char *to, size_t size)
{
	if (layer < 0)
		snprintf(to, size, "%s", taps[tap].name);
	else
		snprintf(to, size, "%s@%d", taps[tap].name, layer);
	return to;
}

int
tap_add(float **data, uint64_t on, enum tap tap, struct frame *f, int layer, int rank,
    const uint64_t *shape)
{
	struct tensor *t;
	char name[64];

	*data = NULL;
	if (!(on & TAP_BIT(tap)))
		return 0;
	tap_name(tap, layer, name, sizeof(name));
	frame_drop(f, name);
	if (f->ntensors == FRAME_TENSORS_MAX)
		return fail(FAIL_DATA,
		    "--tap: '%s' would be the %dth tensor of a frame that holds %d: "
		    "tap fewer names or fewer layers", name, FRAME_TENSORS_MAX + 1,
		    FRAME_TENSORS_MAX);
	if (!(t = frame_add(f, name, taps[tap].is_i32 ? I32 : F32, rank, shape)))
		return -1;
	if (frame_payload(f) > FRAME_PAYLOAD_MAX)
		return fail(FAIL_DATA,
		    "--tap: with '%s' a frame would be larger than 4 GiB: use smaller batches",
		    name);
	*data = t->data;
	return 0;
}

int
tap_copy(struct device *d, uint64_t on, enum tap tap, struct frame *f, int layer, int rank,
    const uint64_t *shape, const float *from)
{
	size_t bytes = sizeof(*from);
	float *to;

	if (tap_add(&to, on, tap, f, layer, rank, shape) < 0)
		return -1;
	for (int i = 0; i < rank; i++)
		bytes *= shape[i];
	return to ? d->ops->fetch(d, to, from, bytes) : 0;
}
