/*
 * The stages that rows wait for: name on the wire, order, and whether a frame there is of a layer.
 *
 * The order is that of a token's way: the stages before the layers, those of each layer, those
 * after the layers.  ds-draft is optional: without it embed follows sample.  To add a stage, add
 * its row here, in ds-frame(5), and in the table of programs (stage/stages.c).
 *
 * The steps of a backward pass have a list of their own.  It visits the layers from the last to
 * the first.  Rows come back to the stage that they have passed, whose weights get their gradient.
 */
#ifndef DS_AT_H
#define DS_AT_H

#include <stddef.h>

/* X(enum, name, 1 if it has a layer) */
#define AT_STAGES(X) \
	X(AT_EMBED, "embed", 0) \
	X(AT_ATTN, "attn", 1) \
	X(AT_ROUTE, "route", 1) \
	X(AT_EXPERT, "expert", 1) \
	X(AT_HEAD, "head", 0) \
	X(AT_SAMPLE, "sample", 0) \
	X(AT_DRAFT, "draft", 0)

/* The same of a backward pass; AT_LEARN: it is over. */
#define AT_BACK_STAGES(X) \
	X(AT_HEAD_BACK, "head.back", 0) \
	X(AT_EXPERT_BACK, "expert.back", 1) \
	X(AT_ROUTE_BACK, "route.back", 1) \
	X(AT_ATTN_BACK, "attn.back", 1) \
	X(AT_EMBED_BACK, "embed.back", 0) \
	X(AT_LEARN, "learn", 0)

#define AT_ENUM(at, name, layered) at,
#define AT_WORD(at, name, layered) " " name

/* AT_OTHER: a stage that this version does not know.  Below it are the steps of a token's way,
 * above it those of a backward pass.  */
enum at { AT_NONE, AT_STAGES(AT_ENUM) AT_OTHER, AT_BACK_STAGES(AT_ENUM) AT_COUNT };

/* " embed attn ..." and " head.back ...", for messages */
#define AT_NAMES AT_STAGES(AT_WORD)
#define AT_BACK_NAMES AT_BACK_STAGES(AT_WORD)

const char *at_name(enum at at);                /* "attn"; "" for AT_NONE and AT_OTHER */
int at_layered(enum at at);                     /* 1 if a frame there is of a layer */
enum at at_parse(const char *text, size_t n);   /* the stage that the n bytes name, or AT_OTHER */

/* 1 if rows there are on their way back. */
static inline int
at_is_back(enum at at)
{
	return at > AT_OTHER;
}

/* What follows a stage and its layer (-1: none) in a model of that many layers; embed follows
 * draft.  The head gets the number of layers as its layer.  */
void at_next(enum at *at, int *layer, int layers);

/* The same in a backward pass.  Nothing follows AT_LEARN, which stays.  */
void at_back_next(enum at *at, int *layer, int layers);

/* What a frame has passed last before it came there: AT_NONE before embed.  */
void at_previous(enum at *at, int *layer);

#endif
