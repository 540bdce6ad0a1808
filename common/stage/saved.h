/*
 * The index of --cache-dir, for ds-embed: which prefixes are saved there. DIR/KEY.ids has the
 * tokens of one, in a frame for `embed`; the KV caches have its rows (attention/cache_file.h).
 * KEY is a hash of the model's id, the precision, the type of cache if it is not the precision's
 * default, and the tokens. It only names files: tokens are always compared.
 *
 * Files of other models, precisions and types are left alone. A damaged one is a warning.
 */
#ifndef DS_SAVED_H
#define DS_SAVED_H

#include "frame/frame.h"

struct saved_key {
	char text[17];
};

struct saved_prefix {
	char key[17];
	int32_t *ids;                   /* [n] */
	uint32_t n;
};

struct saved {
	const char *dir;
	char model[17];
	enum precision precision;
	enum dtype cache_type;          /* as in frames */
	enum dtype held;                /* what caches hold, also where frames do not say it */
	struct saved_prefix *p;         /* [n] */
	size_t n, cap;
};

/* Read the index of what frames like f are of, and caches that hold this type. 0, or -1 and a
 * message; saved_close is due in either case. */
int saved_open(struct saved *s, const char *dir, const struct frame *f, enum dtype held);
void saved_close(struct saved *s);

/* The entry that has the most tokens in common with ids [n] from the first on, and more than
 * *common, which becomes their number. NULL: there is none. */
const struct saved_prefix *saved_find(const struct saved *s, const int32_t *ids, uint32_t n,
    uint32_t *common);

/* The name of a prefix. */
void saved_key(const struct saved *s, const int32_t *ids, uint32_t n, char key[17]);

/* All caches have saved the prefix: write its index file. 0, or -1 and a message. */
int saved_add(struct saved *s, const int32_t *ids, uint32_t n);

/* Some cache cannot load it: it is computed, and saved again. */
void saved_forget(struct saved *s, const char *key);

/* Some cache could not save it: remove its index file as well. */
void saved_remove(struct saved *s, const char *key);

#endif
