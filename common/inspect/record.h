/*
 * Reports with one record per line, as columns of text or as JSON.
 *
 *	static const char columns[] = "router layer rows   entropy ";
 *
 *	record_begin(&r, columns);
 *	record_int(&r, layer);
 *	record_uint(&r, rows);
 *	record_number(&r, entropy, 4);
 *	record_end(&r);
 *
 * prints as text and as JSON
 *
 *	# router layer rows   entropy
 *	router   1     9      2.113
 *	{"record": "router", "layer": 1, "rows": 9, "entropy": 2.1133}
 *
 * The first word is the kind of record, the others are its fields in order, spaced like the text's
 * columns. They are printed before the first record of a kind. Text fields contain no blanks;
 * unknown values are "-", or null in JSON. Check `to` for write errors with ferror().
 */
#ifndef DS_RECORD_H
#define DS_RECORD_H

#include <stdint.h>
#include <stdio.h>

struct record {
	FILE *to;
	int json;
	const char *columns;    /* of the last record, compared by address, or NULL */
	const char *name;       /* the next field, in columns */
	int pad;                /* blanks due before it */
};

void record_begin(struct record *r, const char *columns);
void record_text(struct record *r, const char *s, size_t n);    /* n 0: unknown */
void record_uint(struct record *r, uint64_t v);
void record_int(struct record *r, int64_t v);                   /* below 0: unknown */
/* NaN: unknown; JSON prints as many digits as needed */
void record_number(struct record *r, double v, int digits);
void record_end(struct record *r);

/* Begin a field that the caller prints, with the functions below or directly. */
void record_field(struct record *r);

/* Print a number, or n bytes of text in quotes, as the field or part of it. Text output prints
 * blanks as U+2423. */
void record_put_number(struct record *r, double v, int digits);
void record_put_string(struct record *r, const char *s, size_t n);

#endif
