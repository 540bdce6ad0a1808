#include "stage/block.h"

#include <string.h>

#include "stage/trace.h"

int
block_open(struct block *b, const struct stage *s)
{
	memset(b, 0, sizeof(*b));
	b->s = s;
	if (attn_open(&b->attn, s) < 0 || route_open(&b->route, s) < 0)
		return -1;
	return expert_open(&b->expert, s, NULL);
}

void
block_close(struct block *b)
{
	block_gpu_close(b);
	attn_close(&b->attn);
	route_close(&b->route);
	expert_close(&b->expert);
}

int
block_frame(void *arg, struct frame *f, struct link *out, int nout)
{
	struct block *b = arg;
	int acts = stage_multiplies(b->s, f, AT_ATTN);
	size_t bytes = f->nraw;

	if (acts == 0)
		return attn_frame(&b->attn, f, out, nout);
	for (; acts > 0; acts = stage_multiplies(b->s, f, AT_ATTN), bytes = 0) {
		struct trace t = trace_begin(f);

		if (block_gpu_can(b, f)) {
			if (block_gpu_layers(b, f) < 0)
				return -1;
			continue;
		}
		t.bytes = bytes;        /* what came, came to the first layer */
		if (attn_frame(&b->attn, f, out, nout) < 0 || route_frame(&b->route, f, out, nout) < 0 ||
		    expert_frame(&b->expert, f, out, nout) < 0 || trace_end(&t, f) < 0)
			return -1;
	}
	return acts < 0 ? -1 : 1;
}
