/*
 * Taps: inner tensors of a stage that --tap adds to its frames.  A stage lists them in a
 * table that ends with name NULL and asks tap_add to place them; the bit of an entry is its index.
 */
#ifndef DS_TAP_H
#define DS_TAP_H

#include <stdint.h>

#include "frame/frame.h"

struct tap {
	const char *name;       /* "head.norm" */
	const char *what;       /* its shape and meaning, for --tap ? */
};

/* A list NAME,NAME as bits added to *on.  0, or -1 and a message (FAIL_USAGE). */
int tap_parse(uint64_t *on, const struct tap *taps, const char *text);

/* Print the table on standard output. */
void tap_list(const struct tap *taps);

/* A tensor named after the tap, with "@layer" behind it unless layer is -1, its data not set.
 * NULL and a message on failure. */
struct tensor *tap_add(const struct tap *t, struct frame *f, int layer, enum dtype dtype,
    int rank, const uint64_t *shape);

#endif
