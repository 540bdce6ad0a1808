/*
 * Shared by trace.c and hash_check.c.
 */
#ifndef DS_HASH_INTERNAL_H
#define DS_HASH_INTERNAL_H

#include <nettle/sha2.h>

#include "inspect/hash/hash.h"

#define HASH_PAGE 16            /* positions */

struct hash_row {
	unsigned char hash[SHA256_DIGEST_SIZE];
	uint64_t count;         /* elements; 0: each row has its own number */
	uint64_t seen;          /* when, in rows of the line; 0: never */
	uint64_t changed;       /* when it came with other bits than before, last; 0: never */
	enum dtype dtype;
};

struct hash_page {
	uint64_t number;        /* the first position divided by HASH_PAGE */
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
	struct hash_page **sorted;      /* [pages.n] once hash_sort has run */
	uint64_t clock;
	uint64_t requested;     /* rows that lines of a file to check ask for */
};

/* Sort a line's pages and drop the rows that were taken back. 0, or -1 and a message. */
int hash_sort(struct hash_line *l);

/* The row of a position, or NULL; after hash_sort. */
const struct hash_row *hash_row_at(const struct hash_line *l, uint64_t pos);

/* Positions from..to, all there: their hash in hex. */
void hash_range(const struct hash_line *l, uint64_t from, uint64_t to, char hex[2 * SHA256_DIGEST_SIZE + 1]);

/* Its count as a field. */
void hash_format_count(const struct hash_row *x, char to[24]);

/* "STAGE LAYER SEQ" as fields. */
void hash_print_seq(FILE *to, const struct hash_line *l);

#endif
