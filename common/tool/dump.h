/*
 * Frames as text, for people and for other tools: what ds-dump prints.
 */
#ifndef DS_DUMP_H
#define DS_DUMP_H

#include <stdio.h>

#include "frame/frame.h"

enum dump_format { DUMP_TEXT, DUMP_JSON, DUMP_IDS };

/* "text", "json" or "ids"; -1 and a message (FAIL_USAGE). */
int dump_format_parse(const char *name);

/*
 * Print f, which came from frame_parse and was not changed; number counts frames
 * from 1.  ds-dump(1) describes the formats.  What the stream could not take
 * is for the caller to notice (ferror).  0, or -1 and a message.
 */
int dump_frame(FILE *to, struct frame *f, unsigned long long number, enum dump_format format);

#endif
