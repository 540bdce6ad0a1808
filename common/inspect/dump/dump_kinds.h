/*
 * Internal to ds-dump: one function per format.
 */
#ifndef DS_DUMP_KINDS_H
#define DS_DUMP_KINDS_H

#include "inspect/dump/dump.h"
#include "inspect/frame_json.h"

void dump_text(FILE *to, const struct frame *f, unsigned long long number);

void dump_tensor(FILE *to, const struct tensor *t);

/* One line per span; frames without ids print nothing. Returns 0, or -1 and a message. */
int dump_ids(FILE *to, struct frame *f);

/* One line per element of the selected tensors; dump_csv_head prints the column names. Returns
 * 0, or -1 and a message. */
void dump_csv_head(FILE *to);
int dump_csv(FILE *to, struct frame *f, unsigned long long number, struct select *select);

/* One tensor. */
void dump_npy(FILE *to, const struct tensor *t);

/* All tensors of a frame. Returns 0, or -1 and a message. */
int dump_safetensors(FILE *to, const struct frame *f, unsigned long long number);

/* The entries of a frame's `trace` as events: 0, or -1 and a message. dump_trace_end prints the
 * end of the file. */
int dump_trace(struct dump *d, const struct frame *f, unsigned long long number);
void dump_trace_end(struct dump *d);
void dump_trace_free(struct dump *d);

#endif
