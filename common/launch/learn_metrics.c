#include "launch/learn_metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "launch/streams.h"
#include "launch/words.h"

int
learn_metrics_open(struct learn_metrics *m, int *out)
{
	int ends[2];

	*m = (struct learn_metrics){.fd = -1};
	if (streams_pipe(ends, isatty(2) && !isatty(1)) < 0)
		return -1;
	m->fd = ends[0];
	*out = ends[1] >= 0 ? ends[1] : 1;
	return 0;
}

void
learn_metrics_close(struct learn_metrics *m)
{
	streams_shut(&m->fd);
	buf_free(&m->got);
}

/* Show what a line of metrics has. */
static void
show(struct learn_metrics *m, const char *line)
{
	static const struct {
		const char *key, *format;
	} parts[] = {{"step", "step %.0f"}, {"steps", " of %.0f"}, {"loss", ", loss %.4g"},
	    {"reward", ", reward %.4g"}, {"tokens_per_second", ", %.1f tokens/s"}};
	cJSON *o = json_parse(line, strlen(line));
	char text[128];
	int n = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts) && n < (int)sizeof(text); i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, parts[i].key);

		if (cJSON_IsNumber(v) && (n > 0 || i == 0))
			n += snprintf(text + n, sizeof(text) - (size_t)n, parts[i].format,
			    v->valuedouble);
	}
	cJSON_Delete(o);
	if (n > 0)
		progress_print(&m->progress, text);
}

int
learn_metrics_read(struct learn_metrics *m)
{
	char some[4096], *line;
	ssize_t n = read(m->fd, some, sizeof(some));
	int r;

	if (n <= 0) {
		if (n == 0 || (errno != EINTR && errno != EAGAIN))
			streams_shut(&m->fd);
		return 0;
	}
	if (io_write(1, some, (size_t)n) < 0) {
		m->gone = errno == EPIPE;
		return -1;
	}
	if (buf_add(&m->got, some, (size_t)n) < 0)
		return -1;
	while ((r = words_line(&m->got, &line)) > 0) {
		show(m, line);
		free(line);
	}
	return r;
}
