/*
 * The frame that ds-dump wrote to a file of tensors. Metadata of safetensors files record where it
 * waited and its spans; names of npy files record where it waited.
 */
#ifndef DS_NAMED_FRAME_H
#define DS_NAMED_FRAME_H

#include "frame/frame.h"
#include "weights/safetensors.h"

struct named_span {
	struct span is;
	uint32_t row;           /* first row in the frame */
	uint32_t wanted;        /* rows with logits in earlier spans of the frame */
};

struct named_frame {
	int known;              /* 0: the file does not record its frame */
	int spans_known;        /* 1: it records the spans */
	struct frame f;         /* at, layer, experts_done, rows */
	struct named_span *sorted;      /* [nsorted] non-empty spans by sequence and position */
	int nsorted;
	uint32_t wanted;        /* rows with logits in the frame */
};

/* Read the metadata of a safetensors file. If it is not from ds-dump, known stays 0. Returns 0,
 * or -1 and a message. */
int named_frame_metadata(struct named_frame *n, const struct tensor_file *s);

/* Parse the name of an npy file, without its suffix. *tensor is the name of its tensor, to be
 * freed, or NULL if the file is not from ds-dump. Returns 0, or -1 and a message. */
int named_frame_file(struct named_frame *n, const char *base, char **tensor);

/* The frame's row for a position, or -1. *wanted is its index among rows with logits, or -1. */
int64_t named_frame_row(const struct named_frame *n, uint64_t seq, uint32_t pos, int64_t *wanted);

/* Make seq the sequence of all spans. Returns 0, or -1, without a message, if they have several. */
int named_frame_rename(struct named_frame *n, uint64_t seq);

void named_frame_close(struct named_frame *n);  /* accepts a zeroed *n */

#endif
