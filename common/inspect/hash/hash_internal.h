/*
 * Shared by hash.c and hash_check.c.
 */
#ifndef DS_HASH_INTERNAL_H
#define DS_HASH_INTERNAL_H

#include <nettle/sha2.h>

#include "inspect/hash/hash.h"

#define HASH_PAGE 16            /* positions */

struct hash_row {
	unsigned char hash[SHA256_DIGEST_SIZE];
	uint64_t count;         /* elements; 0: it varies from row to row */
	uint64_t seen;          /* when it arrived last, counted in rows of the line; 0: never */
	uint64_t changed;       /* when its bits changed last, counted in the same way; 0: never */
	enum dtype dtype;
};

struct hash_page {
	uint64_t number;        /* first position / HASH_PAGE */
	struct hash_row rows[HASH_PAGE];
};

struct hash_line_key {
	uint64_t seq, generation;
	uint64_t group;
};

struct hash_line {
	struct hash_line_key key;
	struct group *group;
	struct table pages;     /* number -> struct hash_page */
	struct hash_page *last;
	struct hash_page **sorted;      /* [pages.n], set by hash_sort */
	uint64_t clock;
	uint64_t requested;     /* rows covered by the lines of a checked file */
};

/* Sort a line's pages and drop rows that were rolled back. Returns 0, or -1 and a message. */
int hash_sort(struct hash_line *l);

/* The row of a position, or NULL. Call hash_sort first. */
const struct hash_row *hash_row_at(const struct hash_line *l, uint64_t pos);

/* The hash of positions from..to, which must all exist, in hex. */
void hash_range(const struct hash_line *l, uint64_t from, uint64_t to, char hex[2 * SHA256_DIGEST_SIZE + 1]);

/* Format the row's number of elements; "-": it varies. */
void hash_format_count(const struct hash_row *x, char to[24]);

/* Print the fields "STAGE LAYER SEQ". */
void hash_print_seq(FILE *to, const struct hash_line *l);

#endif
