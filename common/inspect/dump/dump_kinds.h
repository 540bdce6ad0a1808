/*
 * Shared by the files of ds-dump: each way to print a frame.
 */
#ifndef DS_DUMP_KINDS_H
#define DS_DUMP_KINDS_H

#include "inspect/dump/dump.h"
#include "inspect/frame_json.h"

void dump_text(FILE *to, const struct frame *f, unsigned long long number);

/* A line for each span; nothing of a frame without ids.  0, or -1 and a message. */
int dump_ids(FILE *to, struct frame *f);

/* A line for each element of the selected tensors, below those that dump_csv_head prints.  0, or -1 and a message. */
void dump_csv_head(FILE *to);
int dump_csv(FILE *to, struct frame *f, unsigned long long number, struct select *select);

/* One array. */
void dump_npy(FILE *to, const struct tensor *t);

/* All tensors of a frame as one file.  0, or -1 and a message. */
int dump_safetensors(FILE *to, const struct frame *f, unsigned long long number);

/* The entries of a frame's `trace` as events, and what stands behind the last.  0, or -1 and a message. */
int dump_trace(struct dump *d, const struct frame *f, unsigned long long number);
void dump_trace_end(struct dump *d);
void dump_trace_free(struct dump *d);

#endif
