/*
 * Shared by trace.c and trace_check.c.
 */
#ifndef DS_TRACE_MEM_H
#define DS_TRACE_MEM_H

#include <nettle/sha2.h>

#include "inspect/hash/trace.h"

#define TRACE_PAGE 16           /* positions */

struct trace_row {
	unsigned char hash[SHA256_DIGEST_SIZE];
	uint64_t count;         /* elements; 0: each row has its own number */
	uint64_t came;          /* when, in rows of the line; 0: never */
	uint64_t changed;       /* when it came with other bits than before, last; 0: never */
	enum dtype dtype;
};

struct trace_page {
	uint64_t number;        /* the first position divided by TRACE_PAGE */
	struct trace_row rows[TRACE_PAGE];
};

struct trace_key {
	uint64_t seq, life;
	uint64_t group;
};

struct trace_line {
	struct trace_key key;
	struct group *group;
	struct table pages;     /* number -> struct trace_page */
	struct trace_page *last;
	struct trace_page **sorted;     /* [pages.n] once trace_sort has run */
	uint64_t clock;
	uint64_t asked;         /* rows that lines of a file to check ask for */
};

/* Sort a line's pages and drop the rows that were taken back. 0, or -1 and a message. */
int trace_sort(struct trace_line *l);

/* The row of a position, or NULL; after trace_sort. */
const struct trace_row *trace_row_at(const struct trace_line *l, uint64_t pos);

/* Positions from..to, all there: their hash in hex. */
void trace_hash(const struct trace_line *l, uint64_t from, uint64_t to, char hex[2 * SHA256_DIGEST_SIZE + 1]);

/* Its count as a field. */
void trace_count(const struct trace_row *x, char to[24]);

/* "STAGE LAYER SEQ" as fields. */
void trace_print_seq(FILE *to, const struct trace_line *l);

#endif
