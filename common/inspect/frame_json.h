/*
 * Shared by dump.c and dump_json.c.
 */
#ifndef DS_FRAME_JSON_H
#define DS_FRAME_JSON_H

#include <stdio.h>

#include "frame/frame.h"

int tensor_is_float(const struct tensor *t);
size_t tensor_count(const struct tensor *t);                            /* elements */
void tensor_floats(const struct tensor *t, size_t from, int n, float *out);     /* n elements of a tensor of floats */
int64_t tensor_int(const struct tensor *t, size_t i);                   /* of one of integers */

/* n bytes of text as inside a JSON string, without its quotes: nothing in it can move a
 * terminal's cursor, and what is no UTF-8 becomes U+FFFD. */
void frame_json_string(FILE *to, const char *s, size_t n);

/* One msgpack object as JSON. */
void frame_json_value(FILE *to, const unsigned char *p, size_t n);

/* The header of f as JSON, its padding left out; with data the tensors of a batch are told with theirs. */
void frame_json_header(FILE *to, const struct frame *f, int data);

#endif
