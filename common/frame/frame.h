/*
 * A frame: what flows between the programs.  man/ds-frame.5 is the specification; if this file and
 * that page disagree, the page is right.
 *
 * A frame is read whole, checked, and used in place: tensors point into its bytes until a stage
 * replaces them.  An unchanged frame is sent as the bytes that arrived.
 */
#ifndef DS_FRAME_H
#define DS_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "frame/at.h"
#include "kernels.h"

#define FRAME_PREAMBLE 18               /* bytes before the header */
#define FRAME_HEADER_MAX (1u << 20)
#define FRAME_PAYLOAD_MAX 0xffffffffu
#define FRAME_SPANS_MAX 4096
#define FRAME_TENSORS_MAX 64
#define FRAME_RANK_MAX 4
#define FRAME_POS_MAX 0x7fffffffu       /* positions, and rows of a frame */
#define CACHE_ANY UINT64_MAX

/* OP_ERROR: a stage has failed, and with it the stream.  OP_FAILED, an `error` with `seq`: only
 * that sequence has.  OP_SAVE saves a sequence's caches; OP_SAVE_WEIGHTS, a `save` with `folder`,
 * what was learned.  */
enum op { OP_NONE, OP_END, OP_FREE, OP_FORK, OP_CACHE, OP_SAVE, OP_LOAD, OP_NORM, OP_STEP,
	OP_SAVE_WEIGHTS, OP_ERROR, OP_FAILED, OP_OTHER };

/* What OP_SAVE_WEIGHTS writes.  */
enum save { SAVE_WEIGHTS, SAVE_STATE, SAVE_GRADIENTS, SAVES };

/* Of OP_NORM, OP_STEP and OP_SAVE_WEIGHTS; frame/learn.h says which op has which number.  */
struct frame_step {
	uint64_t t;                     /* `step`: its number */
	double weight;                  /* sum of the weights of its tokens */
	double rate, beta1, beta2, eps, decay;  /* of AdamW */
	double bias1, bias2;            /* 1 - beta1^t, 1 - beta2^t */
	double factor;                  /* of clipping, at most 1 */
	double balance;                 /* by how much the router's bias moves */
	const char *folder;
	enum save what;
};

enum {                                  /* flags of a span */
	SPAN_SAMPLE = 1,                /* sample after its last row */
	SPAN_LOGITS = 2,                /* logits of all its rows */
	SPAN_LAST = 4,                  /* its last row is the sequence's last token */
	SPAN_DRAFT = 8,                 /* its rows after the first are guesses */
	SPAN_HELD = 16                  /* caches hold its rows already: they are text only */
};

struct span {
	uint64_t seq;
	uint32_t pos, n, flags;         /* positions pos .. pos+n-1 of seq */
};

/* How many of its rows, from the first, are tokens of the sequence.  Guesses are not, unless caches
 * hold them: those were right.  */
static inline uint32_t
span_tokens(const struct span *s)
{
	return s->n > 1 && (s->flags & (SPAN_DRAFT | SPAN_HELD)) == SPAN_DRAFT ? 1 : s->n;
}

struct tensor {
	const char *name;               /* in the frame's memory */
	enum dtype dtype;
	int rank;
	uint64_t shape[FRAME_RANK_MAX];
	void *data;                     /* at a multiple of 64 bytes; little-endian */
	size_t bytes;
	void *own;                      /* what to free with the tensor, or NULL */
	/* Set if the newest data are elsewhere: copies them to data.  0, or -1 and a message.  */
	int (*fetch)(struct tensor *t);
	void *where;                    /* for fetch */
	uint64_t version;
};

struct frame_seq {                      /* an entry of `seqs`: a msgpack map as it arrived */
	uint64_t seq;
	const unsigned char *params;
	size_t n;
};

struct frame_key {                      /* a key unknown to this version */
	const unsigned char *key, *value;       /* msgpack, as they arrived */
	size_t nkey, nvalue;
};

struct frame_chunk;

struct frame {
	enum op op;                     /* OP_NONE: a batch of rows */
	uint64_t seq;                   /* OP_FREE, OP_FAILED, OP_SAVE, OP_LOAD */
	uint64_t from, to;              /* OP_FORK */
	uint32_t fork_n;                /* of OP_SAVE and OP_LOAD too */
	char key[17];                   /* OP_SAVE, OP_LOAD */
	uint64_t size, positions;       /* OP_CACHE; positions CACHE_ANY: no stage has set it */
	const char *text;               /* OP_ERROR, OP_FAILED */
	struct frame_step step;         /* OP_NORM, OP_STEP, OP_SAVE_WEIGHTS */
	enum at at;
	const char *at_text;            /* its text in the header */
	int layer;                      /* -1: the header has none */
	char model[17];                 /* "": the header has none */
	enum precision precision;       /* of all products its rows take part in; f32: the header
					 * has none */
	enum dtype cache_type;          /* BF16: in f32 and i8, KV caches of its rows are BF16;
					 * else F32, and the header has none */
	const char *experts_done;       /* NULL: none */
	struct span *spans;
	int nspans;
	uint32_t rows;                  /* the sum of the spans' n */
	int ntensors;
	struct frame_seq *seqs;
	int nseqs;
	struct frame_key *others;
	int nothers;
	int changed;                    /* 0: raw is sent */
	unsigned char *raw;             /* [nraw] preamble, header, payload as they arrived, or NULL */
	size_t nraw;
	unsigned char *head;            /* [nhead] from frame_encode */
	size_t nhead;
	struct frame_chunk *chunks;     /* small allocations, freed with the frame */
	struct tensor tensors[FRAME_TENSORS_MAX];       /* [ntensors]; the rest is not set */
};

void frame_init(struct frame *f);       /* an empty batch: no memory yet */
void frame_free(struct frame *f);       /* frees what it holds, and makes it empty */
void frame_move(struct frame *to, struct frame *from);  /* frees to, moves from to it; from becomes
							 * empty */

/*
 * Parsing.  raw (aligned to 64 bytes, from mem_raw) holds one whole frame of n bytes; the frame
 * owns it afterwards, also on failure.  Checked are lengths, CRC, msgpack, types, shapes against
 * the spans' limits, and that tensors lie inside the payload and do not overlap.  0, or -1 and a
 * message (FAIL_DATA).
 */
int frame_parse(struct frame *f, unsigned char *raw, size_t n);

/* The same with the CRC from frame_crc.  */
int frame_parse_summed(struct frame *f, unsigned char *raw, size_t n, uint32_t crc);

/* Continue the CRC over bytes from..to of the frame at p, as they arrive, while the processor's
 * caches hold them.  The preamble is there, and frame_size has accepted it.  */
uint32_t frame_crc(uint32_t crc, const unsigned char *p, size_t from, size_t to);

/* 0 if a frame can begin with these n bytes, or -1 and a message.  */
int frame_begins(const unsigned char *p, size_t n);

/* Check a preamble (FRAME_PREAMBLE bytes).  Returns the size of the whole frame in bytes, or 0 and
 * a message.  */
size_t frame_size(const unsigned char *preamble);

/* Check the 5 bytes before the payload's data against the preamble.  p holds at least the preamble,
 * the header and these 5 bytes.  0, or -1 and a message.  */
int frame_check_prefix(const unsigned char *p);

/* --- reading --- */
const char *op_name(enum op op);        /* "free"; NULL for OP_NONE and OP_OTHER */

/* 1 for OP_NORM, OP_STEP and OP_SAVE_WEIGHTS, on which the stages that learn act.  */
int op_learns(enum op op);

/* 1 if nothing of the sequence f->seq follows, so that its state can be freed.  */
int frame_frees(const struct frame *f);

/* 1 if the frame's layer says which layer its rows are in: at the head it is the number of
 * layers.  */
int frame_in_layer(const struct frame *f);

/* Where the frame waits: "attn layer 3", "head", for messages.  buf is returned.  */
const char *frame_where(const struct frame *f, char *buf, size_t size);

/* Keep a message about a batch whose next stage is not downstream, or does not exist: -1
 * (FAIL_DATA).  hint: the end of the message, or "". */
int frame_stray(const struct frame *f, const char *hint);

/* The tensor or NULL.  Its data are here if the frame came over a link, else maybe elsewhere
 * (frame_fetch).  */
struct tensor *frame_tensor(struct frame *f, const char *name);

/* The tensor of that dtype and shape [rows][cols], or [rows] if cols is 0.  NULL and a message
 * (FAIL_DATA) if it is missing or of another shape.  Its data may be elsewhere.  */
struct tensor *frame_find(struct frame *f, const char *name, enum dtype dtype,
    uint64_t rows, uint64_t cols);

/* Copy the data of a tensor here, if they are elsewhere.  0, or -1 and a message.  */
int frame_fetch(struct tensor *t);

/* frame_find, then frame_fetch.  */
struct tensor *frame_require(struct frame *f, const char *name, enum dtype dtype,
    uint64_t rows, uint64_t cols);

/* The rows that ask for logits (span flags 1 and 2), ascending.  *rows is allocated, for free().
 * Their number, or -1 and a message.  */
int frame_logit_rows(const struct frame *f, int32_t **rows);

/* --- changing: each sets f->changed --- */
void frame_set_at(struct frame *f, enum at at, int layer);      /* layer -1: none */
void frame_set_next(struct frame *f, int layers);               /* what follows its stage in a model
								 * of that many layers */
int frame_set_spans(struct frame *f, const struct span *spans, int n);
int frame_set_done(struct frame *f, const char *text);          /* experts_done; NULL drops it */
int frame_set_text(struct frame *f, const char *text);          /* OP_ERROR; bytes that are not
								 * UTF-8 become U+FFFD */
int frame_set_failed(struct frame *f, uint64_t seq, const char *text);  /* OP_FAILED, likewise */
void frame_set_n(struct frame *f, uint32_t n);                  /* of OP_SAVE, OP_LOAD */
void frame_set_back(struct frame *f, int layers);               /* frame_set_next of a backward
								 * pass */
int frame_add_seq(struct frame *f, const struct frame_seq *s);  /* copies the params */
int frame_add_others(struct frame *f, const struct frame *from);        /* copies its unknown keys */

/* A key unknown to this version, or NULL. */
const struct frame_key *frame_other(const struct frame *f, const char *key);
void frame_drop_other(struct frame *f, const char *key);        /* nothing if there is none */

/* Set such a key (at most 31 letters) to a msgpack object of n bytes.  0, or -1 and a message.  */
int frame_set_other(struct frame *f, const char *key, const void *value, size_t n);

/* Append a msgpack object of n bytes to the array under such a key (at most 31 letters): `trace`,
 * `edits`.  The array is made if it is missing.  0, or -1 and a message.  */
int frame_append(struct frame *f, const char *key, const void *element, size_t n);

/* Append the elements of from's array under the key that to lacks.  0, or -1 and a message.  */
int frame_unite(struct frame *to, const struct frame *from, const char *key);

/* A new tensor, its data not set; an old one of that name is dropped.  NULL and a message on
 * failure.  */
struct tensor *frame_add(struct frame *f, const char *name, enum dtype dtype,
    int rank, const uint64_t *shape);
void frame_drop(struct frame *f, const char *name);             /* nothing if there is none */

/*
 * Encoding.  frame_encode makes preamble, header and the payload's prefix in f->head, and computes
 * the CRC.  The payload follows: the tensors, with zeros up to the next multiple of 64 bytes
 * between them, frame_payload bytes in all. 0, or -1 and a message.
 */
int frame_encode(struct frame *f);
size_t frame_payload(const struct frame *f);

/* The buffers to write, in order, into v [FRAME_IOV_MAX]: the bytes that arrived if f is unchanged,
 * else encoded again.  Their number, or -1 and a message; valid until f is changed or freed.  */
#define FRAME_IOV_MAX (1 + 2 * FRAME_TENSORS_MAX)
int frame_iov(struct frame *f, struct iovec *v);

/* Append the bytes of the whole frame to b.  0, or -1 and a message.  */
int frame_bytes(struct frame *f, struct buf *b);

/* Continue a CRC-32C (Castagnoli): crc32c(crc32c(0, a), b) is the CRC of a followed by b.  */
uint32_t crc32c(uint32_t crc, const void *p, size_t n);

#endif
