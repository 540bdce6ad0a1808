#include "stage/failed.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

static int reported;
static char *last;              /* text of the last report; NULL: there was none, or no memory to
				 * keep it */
static unsigned long long more; /* sequences since then that failed with the same text */

static void
report_more(void)
{
	if (more > 0)
		warn("%llu more sequence%s failed: %s", more, more == 1 ? "" : "s", last);
	more = 0;
}

/* id: of the request, or NULL. */
static void
report(const struct frame *f, const char *id)
{
	size_t n;
	int own;

	if (last && strcmp(last, f->text) == 0) {
		more++;
		return;
	}
	report_more();
	/* the text begins with the program that wrote it, which may be this one */
	n = strlen(program);
	own = strncmp(f->text, program, n) == 0 && strncmp(f->text + n, ": ", 2) == 0;
	warn("sequence %llu%s%s failed: %s", (unsigned long long)f->seq, id ? " of request " : "",
	    id ? id : "", f->text + (own ? n + 2 : 0));
	free(last);
	last = strdup(f->text);
	reported = 1;
}

void
failed_report(const struct frame *f, struct link *out, int nout)
{
	for (int i = 0; i < nout; i++)
		if (!link_is_stored(&out[i]))
			return;
	report(f, NULL);
}

void
failed_report_request(const struct frame *f, const char *id)
{
	report(f, id);
}

int
failed_status(void)
{
	report_more();
	free(last);
	last = NULL;
	return reported ? FAIL_DATA : 0;
}
