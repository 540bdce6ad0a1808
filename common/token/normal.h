/*
 * Unicode normalization, as the Hugging Face tokenizers library does it.
 */
#ifndef DS_NORMAL_H
#define DS_NORMAL_H

#include <stddef.h>

#include "base/mem.h"

#define NORMAL_GROWTH 3         /* NFC of n bytes has at most this many times n bytes */

/* Append the NFC of n bytes of valid UTF-8, unless it is the text itself. Returns 1, 0 if nothing
 * was appended because the text is in NFC, or -1 and a message. */
int normal_nfc(struct buf *to, const char *text, size_t n);

#endif
