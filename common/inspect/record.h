/*
 * Reports of one record a line, as text in columns or as JSON.
 *
 *	static const char columns[] = "router layer rows   entropy ";
 *
 *	record_begin(&r, columns);
 *	record_int(&r, layer);
 *	record_uint(&r, rows);
 *	record_number(&r, entropy, 4);
 *	record_end(&r);
 *
 * prints, as text and as JSON,
 *
 *	# router layer rows   entropy
 *	router   1     9      2.113
 *	{"record": "router", "layer": 1, "rows": 9, "entropy": 2.1133}
 *
 * The first word says what kind of record it is, the others name its fields, in order, and are as far apart as
 * the text's columns.  The line of names stands in front of the first record of a kind.  A field of text has no blank
 * in it; what is not known is "-", in JSON null.  What the stream could not take is for the caller to notice.
 */
#ifndef DS_RECORD_H
#define DS_RECORD_H

#include <stdint.h>
#include <stdio.h>

struct record {
	FILE *to;
	int json;
	const char *columns;    /* of the record printed last (its kind is told by the address), or NULL */
	const char *name;       /* in columns: of the next field */
	int pad;                /* blanks owed in front of it */
};

void record_begin(struct record *r, const char *columns);
void record_text(struct record *r, const char *s, size_t n);    /* n 0: not known */
void record_uint(struct record *r, uint64_t v);
void record_int(struct record *r, int64_t v);                   /* below 0: not known */
void record_number(struct record *r, double v, int digits);     /* NaN: not known; JSON gets as many digits as it takes */
void record_end(struct record *r);

/* A field that the caller prints, with what follows or by itself. */
void record_field(struct record *r);

/* As the field or in it: a number, and n bytes of text in quotes (in text its blanks are U+2423). */
void record_put_number(struct record *r, double v, int digits);
void record_put_string(struct record *r, const char *s, size_t n);

#endif
