#include <string.h>

#include "stage/draft_internal.h"

/* Tokens that must recur before what followed them is a guess, and how many are compared.  */
#define SUFFIX_MIN 2
#define SUFFIX_MAX 32

/* How many tokens before ids[a] and ids[b], both included, are equal.  */
static size_t
equal_before(const int32_t *ids, size_t a, size_t b)
{
	size_t n = 0;

	while (n <= a && n < SUFFIX_MAX && ids[a - n] == ids[b - n])
		n++;
	return n;
}

int
draft_prompt(const int32_t *ids, size_t n, int32_t *guess, int most)
{
	size_t best = 0, at = 0, length;
	int count;

	for (size_t i = n > 0 ? n - 1 : 0; i-- > 0 && best < SUFFIX_MAX; )
		if ((length = equal_before(ids, i, n - 1)) > best) {
			best = length;
			at = i;
		}
	if (best < SUFFIX_MIN)
		return 0;
	/* where the two overlap, what follows repeats */
	for (count = 0; count < most; count++)
		guess[count] = ids[at + 1 + (size_t)count % (n - 1 - at)];
	return count;
}
