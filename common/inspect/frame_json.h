/*
 * Elements of tensors, and headers of frames as JSON.
 */
#ifndef DS_FRAME_JSON_H
#define DS_FRAME_JSON_H

#include <stdio.h>

#include "frame/frame.h"

int tensor_is_float(const struct tensor *t);
size_t tensor_count(const struct tensor *t);                            /* number of elements */
/* n elements of a float tensor */
void tensor_floats(const struct tensor *t, size_t from, int n, float *out);
int64_t tensor_int(const struct tensor *t, size_t i);           /* element i of an integer tensor */

/* Print n bytes as the inside of a JSON string. Control characters, which could move a
 * terminal's cursor, are escaped; ill-formed UTF-8 becomes U+FFFD. */
void frame_json_string(FILE *to, const char *s, size_t n);

/* Print one msgpack object as JSON. */
void frame_json_value(FILE *to, const unsigned char *p, size_t n);

/* Print the header of f as JSON, without padding; with data, the tensors' elements as well. f
 * must come unchanged from frame_parse. */
void frame_json_header(FILE *to, const struct frame *f, int data);

#endif
