/*
 * The tokens of a vocabulary by id, with their bytes.
 */
#ifndef DS_TOKENS_H
#define DS_TOKENS_H

#include <stddef.h>
#include <stdint.h>

#define TOKEN_ID_MAX ((1 << 24) - 2)

struct token {
	size_t at;                      /* offset of its bytes in tokens.bytes */
	uint32_t len;
	unsigned char known;            /* 0: no token has this id */
	unsigned char plain;            /* spelled in the byte-level alphabet */
	unsigned char special, added;
};

struct tokens {
	struct token *v;                /* [n] */
	size_t n, cap;
	char *bytes;                    /* of all tokens, and contents of added tokens */
	size_t nbytes, bytes_cap;
};

/* Reserve memory for nbytes bytes of tokens; they never move afterwards. Returns 0, or -1 and a
 * message. */
int tokens_reserve(struct tokens *t, size_t nbytes);

/* Add the token of an id, with the bytes that the ByteLevel decoder produces: a token with
 * characters outside the alphabet is its own spelling. NULL and a message on failure. */
struct token *tokens_add(struct tokens *t, const char *spelling, size_t n, uint64_t id);

/* The same for a token that is its own spelling in any case. */
struct token *tokens_add_bytes(struct tokens *t, const char *bytes, size_t n, uint64_t id);

void tokens_free(struct tokens *t);

#endif
