#include "base/scratch.h"

#include <stdlib.h>

#include "base/fail.h"
#include "base/mem.h"

void *
scratch_reserve(struct scratch *s, size_t n, size_t size)
{
	size_t bytes;

	if (s->p && size_mul(n, size, &bytes) == 0 && bytes <= s->bytes)
		return s->p;
	scratch_free(s);
	s->p = mem_raw(n, size);
	if (s->p)
		s->bytes = n * size;
	return s->p;
}

void
scratch_free(struct scratch *s)
{
	free(s->p);
	*s = (struct scratch){0};
}
