/*
 * The frame that ds-dump wrote into a file of tensors: the metadata of its safetensors files say
 * where the frame waited and whose rows it had, the name of its npy files where it waited.
 */
#ifndef DS_NAMED_FRAME_H
#define DS_NAMED_FRAME_H

#include "frame/frame.h"
#include "weights/safetensors.h"

struct named_span {
	struct span is;
	uint32_t row;           /* its first */
	uint32_t wanted;        /* rows with logits in the spans before it in the frame */
};

struct named_frame {
	int known;              /* 0: the file does not say of which frame it is */
	int spans_known;        /* it says whose rows they are */
	struct frame f;         /* at, layer, experts_done, rows */
	struct named_span *sorted;      /* [nsorted] by sequence and position; not the empty */
	int nsorted;
	uint32_t wanted;        /* rows with logits */
};

/* Read a safetensors file's metadata.  Not those of ds-dump: known stays 0.  0, or -1 and a
 * message. */
int named_frame_metadata(struct named_frame *n, const struct safetensors *s);

/* Read the name of an npy file, its suffix cut off: *tensor is the tensor's, for the caller to
 * free, or NULL where the name is not of that form.  0, or -1 and a message. */
int named_frame_file(struct named_frame *n, const char *base, char **tensor);

/* The frame's row of a position, or -1; *wanted: which of the rows with logits it is, or -1. */
int64_t named_frame_row(const struct named_frame *n, uint64_t seq, uint32_t pos, int64_t *wanted);

/* All its spans are of one sequence, which becomes seq; -1: they are of several. */
int named_frame_rename(struct named_frame *n, uint64_t seq);

void named_frame_close(struct named_frame *n);  /* a zeroed *n is fine */

#endif
