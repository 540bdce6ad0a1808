#include "attention/attention.h"

static const struct attention_kind *const kinds[] = {
	[ATTENTION_MLA] = &attention_mla,
};

const struct attention_kind *
attention_of(const struct config *c)
{
	return kinds[c->attention];
}
