/*
 * Kinds of attention: one table, a row a kind, filled in by that kind's file.
 */
#ifndef DS_ATTENTION_H
#define DS_ATTENTION_H

#include <stddef.h>

#include "arch/config.h"
#include "kernels.h"

/* Where a cache is, which decides how its rows are stored. */
struct attention_where {
	int gpu;                        /* 0: with the CPU */
	enum precision precision;       /* of the products */
};

struct attention_kind {
	const char *name;

	/* Bytes of a position in the cache of one layer. */
	size_t (*cache_row)(const struct config *c, struct attention_where where);

	/* Operations (a multiply-add is two) of rows over the cache of one layer, if each reads
	 * `held` positions.  Products with weights do not count. */
	double (*operations)(const struct config *c, double rows, double held);
};

extern const struct attention_kind attention_mla;

/* The kind of a model. */
const struct attention_kind *attention_of(const struct config *c);

#endif
