/*
 * The tokens of the sequences that the KV caches hold, for ds-embed: live sequences, and retained
 * prefixes, which no prompt owns.  A prompt that begins with the tokens of one of them is forked
 * from it and starts after these positions.
 *
 * prefix_new adds a live sequence; prefix_set adds its tokens as they arrive, before the caches
 * have their rows.  When it ends, prefix_retain moves it to the retained ones, under the id that
 * its copy in the caches has.  prefix_find looks for the longest common beginning, token by token.
 * prefix_use marks a retained prefix as used; the least recently used one is retained.first.
 * prefix_free drops either kind.  The caches are the caller's: embed_kv.c sends `fork` and `free`.
 */
#ifndef DS_EMBED_PREFIX_H
#define DS_EMBED_PREFIX_H

#include <stddef.h>
#include <stdint.h>

struct prefix {
	uint64_t seq;                   /* its id in the caches */
	int32_t *ids;                   /* [n] tokens of positions 0 .. n-1 */
	uint32_t n;
	size_t cap;
	int retained;
	int loading;                    /* retained: the caches have been asked to load it */
	int own;                        /* 1: its rows are not those of its tokens alone, so that
					 * prompts do not share them */
	struct prefix *before, *after;  /* live: older and younger ones; retained: those used less
					 * and more recently */

	/* Of live ones, for the scheduler: */
	size_t queued;                  /* its items that wait in queues */
	int sought;                     /* saved prefixes of it have been looked for */
	int begun;                      /* its first rows may be sent: nothing to wait for */
	int ending;                     /* its last token has come, its end follows */
	int failed;                     /* its items are dropped when their turn comes */
	uint64_t serial;                /* of the batch for which ahead was set */
	uint32_t ahead;                 /* positions that wait in the queue before another prompt */
};

struct prefix_list {
	struct prefix *first, *last;
	size_t n;
};

struct prefixes {
	struct prefix_list live, retained;
};

void prefix_close(struct prefixes *p);  /* frees all */

/* A live sequence without tokens, the youngest.  NULL and a message.  */
struct prefix *prefix_new(struct prefixes *p, uint64_t seq);

/* Its tokens from position pos on, pos <= x->n, become ids [n]; later ones are forgotten.  0, or -1
 * and a message.  */
int prefix_set(struct prefix *x, uint32_t pos, const int32_t *ids, uint32_t n);

/* The number of tokens that x has in common with ids [n] from the first on.  */
uint32_t prefix_common(const struct prefix *x, const int32_t *ids, uint32_t n);

/* Of all x that are shared, for which positions(x, arg) is at most x->n, the one that has the most
 * tokens in common with ids [n] below that position, and more than *common; *common becomes their
 * number.  NULL: there is none.  Of several the first in the list of retained ones counts.  */
struct prefix *prefix_find(const struct prefixes *p, const int32_t *ids, uint32_t n,
    uint32_t (*positions)(const struct prefix *x, void *arg), void *arg, uint32_t *common);

/* The retained prefix of that id, or NULL.  */
struct prefix *prefix_retained(const struct prefixes *p, uint64_t seq);

/* The live x ends: its first n tokens are retained as `seq`, most recently used.  */
void prefix_retain(struct prefixes *p, struct prefix *x, uint64_t seq, uint32_t n);

/* A retained prefix that holds all of ids [n], or that ids [n] hold (inside 1); NULL: none.  */
struct prefix *prefix_covering(const struct prefixes *p, const int32_t *ids, uint32_t n,
    int inside);

void prefix_use(struct prefixes *p, struct prefix *x);  /* x is retained */

void prefix_free(struct prefixes *p, struct prefix *x);

#endif
