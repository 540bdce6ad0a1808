/*
 * CURVE keys in files.
 *
 * A key file, which nobody else may read, has two lines, `public KEY` and `secret KEY`, a peers file the public keys
 * that are allowed, one at the beginning of each line; what follows a key is a remark.  Keys are written as Z85: 40 letters.
 */
#ifndef DS_KEY_H
#define DS_KEY_H

#include <stddef.h>

#define KEY_BYTES 32
#define KEY_TEXT 40

struct keys {
	unsigned char public[KEY_BYTES], secret[KEY_BYTES];
	unsigned char (*allowed)[KEY_BYTES];
	size_t nallowed;        /* without a peers file its own alone */
};

/* The keys that link_settings names, read on first use; NULL: it names none.  0, or -1 and a message. */
int keys_get(const struct keys **k);

/* Make a key: the file (never one that is there), and the public key as text.  0, or -1 and a message. */
int key_make(const char *path, char public[KEY_TEXT + 1]);

#endif
