/*
 * The regular expressions of a tokenizer.json, in Oniguruma's Ruby syntax, matched with PCRE2.
 * Where the two could disagree, or PCRE2's Unicode version could differ, the expression is
 * rewritten: \s and classes such as \p{L} and \p{Lu} become explicit ranges of Unicode 16.0.
 * Anything not known to mean the same in both is refused.
 */
#ifndef DS_PATTERN_H
#define DS_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct unicode_class {
	const char *name;               /* L M N P S Lu Ll Lt Lm Lo Han, or s for white space */
	const uint32_t (*ranges)[2];    /* [n] first and last code points, ascending */
	size_t n;
};

extern const struct unicode_class unicode_classes[];    /* ended by name NULL */

struct pattern;

/* Compile. Returns NULL and a message that quotes the unsupported part on failure. */
struct pattern *pattern_open(const char *regex);

/* The same for an expression that is known to compile, which must outlive the pattern: compiled
 * with its first text. ds-detokenize has none. */
struct pattern *pattern_later(const char *regex);
void pattern_close(struct pattern *p);

/* Ends of pieces, ascending; no piece is empty. */
struct cuts {
	size_t *end, n, cap;
};

/*
 * Limit on the processor time of all matches of a text together. A pattern may stay within PCRE2's
 * limits at each position and still take time quadratic in the text.
 */
struct pattern_time {
	double limit;                   /* seconds */
	double spent;                   /* until the last pattern_pause */
	double wall, cpu;               /* clocks at the last pattern_begin */
	size_t reach;                   /* start positions per call; adapts to their cost */
};

#define PATTERN_TIME(n) (2 + 5e-6 * (double)(n))        /* a sound pattern takes 0.1 us a byte */

void pattern_begin(struct pattern_time *t);
void pattern_pause(struct pattern_time *t);

/*
 * Cut n bytes of valid UTF-8 into matches and the text between them (behavior "Isolated"). Appends
 * the ends, plus base, to out. Returns 0, or -1 and a message. A pattern may be used by one thread
 * at a time.
 */
int pattern_split(struct pattern *p, const char *text, size_t n, size_t base,
    struct pattern_time *time, struct cuts *out);

#endif
