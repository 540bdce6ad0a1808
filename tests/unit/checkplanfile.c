/* TAP: plan files: what is read, what is refused, and how names are replaced. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "launch/planfile.h"
#include "point.h"

static char path[] = "/tmp/ds-checkplanfile.XXXXXX";

static int
read_text(struct planfile *p, const char *text, size_t n)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(text, 1, n, f) != n || fclose(f) != 0) {
		perror(path);
		exit(1);
	}
	return planfile_read(p, path);
}

#define HOSTS "plan 1\nhost a 10.0.0.1\nhost b\nhost c 10.0.0.3 spare\n"
#define ENDS "feed tcp://{a}:1\ntake tcp://{b}:2\n"

/* message: what it says behind the file's name */
static void
refused(const char *text, size_t n, const char *message)
{
	struct planfile p;
	int r = read_text(&p, text, n);
	char what[300], start[64];

	snprintf(start, sizeof(start), "plan '%s'", path);
	snprintf(what, sizeof(what), "refused:%s", message);
	point(r < 0 && fail_status() == FAIL_DATA && strncmp(fail_text(), start, strlen(start)) == 0 &&
	    strcmp(fail_text() + strlen(start), message) == 0, what);
	planfile_free(&p);
}

#define REFUSED(text, message) refused(text, sizeof(text) - 1, message)

static void
check_refused(void)
{
	char *longest = malloc(70000);

	REFUSED("", ": it has no line 'plan 1'");
	REFUSED("\n# plan 1\n", ": it has no line 'plan 1'");
	REFUSED("host a\n", " line 1: a plan begins with the line 'plan 1'");
	REFUSED("\nplan 2\n", " line 2: version '2': this build knows plans of version 1");
	REFUSED("plan 1\nplan 1\n", " line 2: 'plan': a line begins with host, feed, take or run");
	REFUSED(HOSTS, ": it has no line 'feed ENDPOINT'");
	REFUSED(HOSTS "feed tcp://{a}:1\n", ": it has no line 'take ENDPOINT'");
	REFUSED(HOSTS ENDS, ": it has no line 'run HOST PROGRAM'");
	REFUSED(HOSTS ENDS "take tcp://{b}:2\n", " line 7: a second 'take'");
	REFUSED(HOSTS "feed\n", " line 5: expected 'feed ENDPOINT' with tcp:// or ipc://");
	REFUSED(HOSTS "feed fifo\n", " line 5: expected 'feed ENDPOINT' with tcp:// or ipc://");
	REFUSED(HOSTS "feed ipc://{run}/0\n", " line 5: 'ipc://{run}/0': {run} is for the programs of one host");
	REFUSED(HOSTS "feed tcp://{d}:1\n", " line 5: 'tcp://{d}:1': {d} is not a host of the lines above");
	REFUSED(HOSTS "feed tcp://{c}:1\n", " line 5: 'tcp://{c}:1': {c} is a spare: name the host that it may replace");
	REFUSED(HOSTS "feed tcp://{a:1\n", " line 5: 'tcp://{a:1': unmatched brace");
	REFUSED(HOSTS "feed tcp://a}:1\n", " line 5: 'tcp://a}:1': unmatched brace");
	REFUSED(HOSTS "feed tcp://{}:1\n", " line 5: 'tcp://{}:1': {} is not a host of the lines above");
	REFUSED("plan 1\nhost\n", " line 2: expected 'host NAME [ADDRESS] [spare]'");
	REFUSED("plan 1\nhost a b c\n", " line 2: expected 'host NAME [ADDRESS] [spare]'");
	REFUSED("plan 1\nhost run\n", " line 2: host 'run': a name has letters, digits and ._- and is not 'run'");
	REFUSED("plan 1\nhost -a\n", " line 2: host '-a': a name has letters, digits and ._- and is not 'run'");
	REFUSED("plan 1\nhost a;b\n", " line 2: host 'a;b': a name has letters, digits and ._- and is not 'run'");
	REFUSED("plan 1\nhost a -oProxyCommand=x\n", " line 2: host 'a': '-oProxyCommand=x' is not an address");
	REFUSED("plan 1\nhost a ''\n", " line 2: host 'a': '' is not an address");
	REFUSED("plan 1\nhost a\nhost a\n", " line 3: host 'a' appears twice");
	REFUSED(HOSTS "run a\n", " line 5: expected 'run HOST PROGRAM [ARGUMENT ...]'");
	REFUSED(HOSTS "run d ds-head\n", " line 5: 'd' is not a host of the lines above");
	REFUSED(HOSTS "run c ds-head\n", " line 5: host 'c' is a spare: nothing runs there at first");
	REFUSED(HOSTS "run a ds-head -o '{x}'\n", " line 5: '{x}': {x} is not a host of the lines above");
	REFUSED(HOSTS "run a 'ds-head\n", " line 5: a quote is not closed");
	REFUSED(HOSTS "run a ds-head \x01\n", " line 5: a control character, 0x01");
	REFUSED(HOSTS "run a ds-\0head\n", ": it has a NUL byte");
	if (!longest)
		return;
	memset(longest, 'x', 70000);
	memcpy(longest, "plan 1\n", 7);
	refused(longest, 70000, " line 2: more than 65536 bytes");
	for (int i = 7; i < 2000; i += 2)
		longest[i] = ' ';
	refused(longest, 2000, " line 2: more than 512 words");
	free(longest);
}

static void
check_read(void)
{
	static const char *const addresses[] = {"10.0.0.1", "10.0.0.3", ""};
	static const char text[] = "  # a plan\n\nplan 1\nhost a 10.0.0.1\nhost b\nhost c spare\n"
	    "run a ds-embed -m 'the model''s {a}' -e it\\'s -x \"y ''\n\trun\tb /opt/ds-block -l 2-3 -o tcp://{b}:5/{run}"
	    "\ntake tcp://{b}:2\nfeed tcp://{a}:1";
	struct planfile p;
	struct buf b = {0};
	int r = read_text(&p, text, sizeof(text) - 1);

	point(r == 0 && p.nhosts == 3 && p.nlines == 2, "a plan is read");
	if (r < 0)
		return;
	point(strcmp(p.hosts[1].name, "b") == 0 && strcmp(p.hosts[1].address, "b") == 0 && !p.hosts[1].spare,
	    "a host's name is its address, too");
	point(strcmp(p.hosts[2].address, "c") == 0 && p.hosts[2].spare, "... also that of a spare");
	point(p.lines[0].host == 0 && p.lines[0].nwords == 8 && strcmp(p.lines[0].words[2], "the models {a}") == 0 &&
	    strcmp(p.lines[0].words[4], "it's") == 0 && strcmp(p.lines[0].words[6], "\"y") == 0 && !*p.lines[0].words[7], "words are unquoted");
	point(p.lines[1].host == 1 && strcmp(p.lines[1].label, "ds-block -l 2-3") == 0, "a line has a label");
	r = planfile_fill(&b, &p, p.lines[1].words[4], addresses);
	point(r == 0 && b.n == 22 && memcmp(b.p, "tcp://10.0.0.3:5/{run}", 22) == 0, "names are replaced, {run} is not");
	buf_free(&b);
	planfile_free(&p);
}

int
main(void)
{
	int fd = mkstemp(path);

	if (fd < 0) {
		perror(path);
		return 1;
	}
	close(fd);
	check_refused();
	check_read();
	unlink(path);
	printf("1..%d\n", points);
	return failures > 0;
}
