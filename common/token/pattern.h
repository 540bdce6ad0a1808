/*
 * The regular expressions of a tokenizer.json, which are Oniguruma's (Ruby
 * syntax), matched with PCRE2.  Where the two could disagree, or PCRE2's
 * Unicode tables could be of another version, the expression is rewritten:
 * \p{L} \p{M} \p{N} \p{P} \p{S} and \s become explicit ranges of Unicode 16.0.
 * What is not known to mean the same in both is refused.
 */
#ifndef DS_PATTERN_H
#define DS_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct unicode_class {
	char letter;                    /* L M N P S, and s for white space */
	const uint32_t (*ranges)[2];    /* [n] first and last code point, ascending */
	size_t n;
};

extern const struct unicode_class unicode_classes[];    /* the last has letter 0 */

struct pattern;

/* Compile; NULL and a message that quotes the part that is not supported. */
struct pattern *pattern_open(const char *regex);
void pattern_close(struct pattern *p);

/* Where text is cut: ascending ends of pieces, none empty. */
struct cuts {
	size_t *end, n, cap;
};

/*
 * The processor time that all matches of a text take together, which is limited: a pattern may be within PCRE2's limits
 * at each place and still need time that grows with the square of the text.
 */
struct pattern_time {
	double limit;                   /* seconds */
	double spent;                   /* until the last pause */
	double wall, cpu;               /* the clocks at the last begin */
	size_t reach;                   /* places that one call tries; adapts to how long that takes */
};

#define PATTERN_TIME(n) (2 + 5e-6 * (double)(n))        /* a sound pattern needs 0.1 us a byte */

void pattern_begin(struct pattern_time *t);
void pattern_pause(struct pattern_time *t);

/*
 * Cut n bytes of valid UTF-8 into matches and what lies between them (the
 * behavior "Isolated"); the ends, with base added, go behind what out holds.
 * 0, or -1 and a message.  One thread at a time for each pattern.
 */
int pattern_split(struct pattern *p, const char *text, size_t n, size_t base, struct pattern_time *time,
    struct cuts *out);

/* What PCRE2 is given for it, appended to `to`: for pattern_open and checks. */
int pattern_translate(struct buf *to, const char *regex);

#endif
