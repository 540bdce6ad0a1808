/*
 * CURVE keys in files.
 *
 * A key file, readable by its owner only, has two lines, `public KEY` and `secret KEY`. A peers
 * file lists allowed public keys, one at the start of each line; the rest of a line is a comment.
 * Keys are Z85 text of 40 characters.
 */
#ifndef DS_KEY_H
#define DS_KEY_H

#include <stddef.h>

#define KEY_BYTES 32
#define KEY_TEXT 40

struct keys {
	unsigned char public[KEY_BYTES], secret[KEY_BYTES];
	unsigned char (*allowed)[KEY_BYTES];
	size_t nallowed;        /* without a peers file: the own key only */
};

/* The keys named by link_settings, read at the first call and kept in static memory; *k is NULL
 * if it names none. Returns 0, or -1 and a message. */
int keys_get(const struct keys **k);

/* Create a key pair: write the new file path, and store the public key as text. An existing file
 * is an error. Returns 0, or -1 and a message. */
int key_make(const char *path, char public[KEY_TEXT + 1]);

#endif
