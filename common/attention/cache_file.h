/*
 * The first positions of a sequence in one layer's cache, as a file: DIR/KEY.lLAYER of
 * --cache-dir. It is a stream of frames (ds-frame(5), Saved sequences) with the tokens, whose
 * pages are those of the cache. A file of another model, precision, type, layer, layout or other
 * tokens is refused, so that no row is read that the sequence would not have computed.
 */
#ifndef DS_CACHE_FILE_H
#define DS_CACHE_FILE_H

#include "attention/cache.h"

/* A position in a page, in bytes: for each key head its key and value (kernels.h, struct
 * kv_shape), then what else the kind of attention stores. */
struct cache_layout {
	size_t heads, key, value, rest;
	enum dtype dtype;               /* of its numbers */
};

struct cache_file {
	const char *path;
	const char *model;              /* its id */
	enum precision precision;
	enum dtype type;                /* BF16: pages of the CPU in BF16; else F32 */
	int layer;
	const struct cache_layout *layout;
	const int32_t *ids;             /* [n] the tokens of the positions */
	uint32_t n;
};

/* The folder of --cache-dir, which is made if it does not exist. 0, or -1 and a message. */
int cache_folder_open(const char *dir);

/* Write the positions 0 .. n-1 of s, which holds that many. 0, or -1 and a message, and nothing is
 * left. */
int cache_file_save(const struct cache_file *f, const struct cache *c, const struct cache_seq *s);

/* The sequence, which does not exist, gets n positions. 0, or -1 and a message, and it does not
 * exist. The file may have more. */
int cache_file_load(const struct cache_file *f, struct cache *c, uint64_t seq);

#endif
