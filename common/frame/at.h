/*
 * The stages that rows wait for: name on the wire, order, and whether a frame there is of a layer.
 *
 * The order is that of a token's way: the stages before the layers, those of each layer, those
 * after the layers.  ds-draft is optional: without it embed follows sample.  To add a stage, add
 * its row here, in ds-frame(5), and in the table of programs (stage/stages.c).
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

#define AT_ENUM(at, name, layered) at,
#define AT_WORD(at, name, layered) " " name

/* AT_OTHER: a stage that this version does not know */
enum at { AT_NONE, AT_STAGES(AT_ENUM) AT_OTHER };

/* " embed attn ...", for messages */
#define AT_NAMES AT_STAGES(AT_WORD)

const char *at_name(enum at at);                /* "attn"; "" for AT_NONE and AT_OTHER */
int at_layered(enum at at);                     /* 1 if a frame there is of a layer */
enum at at_parse(const char *text, size_t n);   /* the stage that the n bytes name, or AT_OTHER */

/* What follows a stage and its layer (-1: none) in a model of that many layers; embed follows
 * draft.  The head gets the number of layers as its layer.  */
void at_next(enum at *at, int *layer, int layers);

/* What a frame has passed last before it came there: AT_NONE before embed.  */
void at_previous(enum at *at, int *layer);

#endif
