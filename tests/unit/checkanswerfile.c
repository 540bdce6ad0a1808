/* TAP: files of answers: what is there, torn lines, locks; the line of progress. */
/* check: yes */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "launch/answer_file.h"
#include "launch/progress.h"
#include "point.h"

static char path[64];

static void
put(const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		exit(2);
}

static long
size(void)
{
	struct stat st;

	return stat(path, &st) < 0 ? -1 : (long)st.st_size;
}

/* 1 if the file cannot be loaded, and the message ends like this. */
static int
refused(const char *text, const char *model, const char *end)
{
	struct answer_file a;
	size_t n;
	int r;

	put(text);
	r = answer_file_load(&a, path, model, "f32");
	answer_file_free(&a);
	n = strlen(fail_text());
	return r < 0 && fail_status() == FAIL_DATA && n >= strlen(end) &&
	    strcmp(fail_text() + n - strlen(end), end) == 0;
}

static int
take(struct answer_file *a, const char *id, uint64_t index)
{
	return answer_file_take(a, id, strlen(id), index);
}

/* 1 if opening fails with the status, or succeeds if it is 0 and leaves a file of n bytes. */
static int
opens(int resume, int status, long n)
{
	int fd = answer_file_open(path, resume);
	int ok = status ? fd < 0 && fail_status() == status : fd >= 0;

	if (fd >= 0) {
		answer_file_trim(fd);
		close(fd);
	}
	return ok && size() == n;
}

static void
check_files(void)
{
	struct answer_file a;
	int fd;

	put("{\"id\":\"a\",\"index\":0,\"model\":\"m\",\"precision\":\"f32\"}\n"
	    "{\"id\":\"a\",\"index\":0}\n"
	    "{\"index\":12,\"id\":0.50}\n{\"id\":\"b\",\"index\":0}");
	point(answer_file_load(&a, path, "m", "f32") == 0 && a.lines == 3,
	    "whole lines are read, a torn one is not");
	point(take(&a, "\"a\"", 0) && take(&a, "\"a\"", 0) && !take(&a, "\"a\"", 0),
	    "equal ids count");
	point(take(&a, "0.50", 12) && !take(&a, "0.50", 1) && !take(&a, "\"b\"", 0),
	    "an id is its text, with an index");
	answer_file_free(&a);
	point(refused("{\"id\":1,\"index\":0,\"model\":\"x\"}\n", "m",
	    " line 1: an answer of model x, not m") &&
	    refused("{\"id\":1,\"index\":0,\"precision\":\"bf16\"}\n", "",
	    "line 1: an answer of precision bf16, not f32"),
	    "another model or precision");
	point(refused("{\"id\":1,\"index\":0}\n[]\n", "", " line 2: it is not an answer") &&
	    refused("{\"index\":0}\n", "", " line 1: it has no 'id'") &&
	    refused("{\"id\":0,\"index\":-1}\n", "", "0 or more") &&
	    refused("{\"id\":0}\n", "", "") && refused("{]\n", "", ""),
	    "lines that are no answers");

	put("{}\n{}\n{\"id\"");
	point(opens(0, FAIL_USAGE, 11), "a file with answers is not written over");
	point(opens(1, 0, 6), "to go on, the torn line is dropped");
	put("{}\nother text");
	point(opens(1, FAIL_DATA, 13), "unless it looks like no answer");
	put("{\"prompt\": \"a request\"}");
	point(opens(1, FAIL_DATA, 23), "a request is no answer");
	put("");
	point(opens(0, 0, 0) && opens(1, 0, 0), "an empty file");
	unlink(path);
	point(opens(1, 0, 0) && mkfifo(path, 0) < 0, "a file that is not there");
	unlink(path);
	point(mkfifo(path, 0600) == 0 && answer_file_open(path, 1) < 0 &&
	    fail_status() == FAIL_USAGE, "a FIFO without a reader");
	unlink(path);
	point((fd = answer_file_open("/dev/null", 0)) >= 0 && close(fd) == 0 &&
	    answer_file_open("/dev/null", 1) < 0, "a device can only be written");
	put("");
	fd = answer_file_open(path, 0);
	if (fd < 0 || write(fd, "{}\n{\"a", 6) != 6)
		exit(2);
	answer_file_trim(fd);
	point(size() == 3, "after a failure whole lines are left");
	close(fd);
}

static int
shows(uint64_t total, uint64_t before, uint64_t answers, double now, const char *text)
{
	struct progress p = {.total = total, .before = before};
	struct tally t = {.answers = answers, .timed = 1000, .busy = answers ? 2 : 0};
	char got[128];

	if (strcmp(progress_text(&p, &t, now, got, sizeof(got)), text) == 0)
		return 1;
	return fail(FAIL_DATA, "%s", got) == 0;
}

static void
check_progress(void)
{
	point(shows(0, 0, 0, 1, "0 answers") && shows(0, 0, 1, 1, "1 answer, 500.0 tokens/s"),
	    "a number of answers, if the total is unknown");
	point(shows(1000, 400, 200, 100, "600 of 1000 answers, 500.0 tokens/s, 3:20 left") &&
	    shows(100000, 0, 10, 5, "10 of 100000 answers, 500.0 tokens/s, 13:53:15 left"),
	    "the time left follows from this run alone");
	put("{\"prompt\": \"x\"}\n{\"n\": 5}\n{\"n\": 0}\nnonsense \"n\"\n\n"
	    "{\"prompt\": \"\\\"n\\\"\"}");
	point(progress_count(path, 3) == 3 + 5 + 1 + 1 + 3 + 3, "paths of requests are counted");
	point(progress_count("/dev/null", 3) == 0, "not those that are still to come");
}

int
main(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(path, sizeof(path), "%.32s/answers.XXXXXX",
	    tmp && strlen(tmp) < 32 ? tmp : "/tmp");
	close(mkstemp(path));
	check_files();
	check_progress();
	unlink(path);
	printf("1..%d\n", points);
	return failures != 0;
}
