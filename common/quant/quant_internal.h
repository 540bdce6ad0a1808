/*
 * Shared by quant.c, which writes folders, and gguf_write.c.
 */
#ifndef DS_QUANT_INTERNAL_H
#define DS_QUANT_INTERNAL_H

#include "quant/convert.h"
#include "quant/quant.h"

/* Convert a matrix, add its error to *all and report it.  0, or -1 and a message. */
int quant_convert(struct quant *q, const struct mat *w, enum dtype to, const char *name,
    convert_fn *store, void *arg, struct loss *all);

/* 0, or -1 and a message after a signal. */
int quant_check_signal(const struct quant *q);

/* Write q->out, a GGUF, and add its errors to *all.  0, or -1 and a message; no file is left
 * then. */
int gguf_write(struct quant *q, struct loss *all);

#endif
