/* TAP: which host is cut off, of all ways in which links between the hosts of a plan can break. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "supervise/reach.h"
#include "point.h"

static char path[] = "/tmp/ds-checkreach.XXXXXX";

static void
read_plan(struct planfile *p, struct reach *r, const char *text)
{
	FILE *f = fopen(path, "w");

	if (!f || fputs(text, f) < 0 || fclose(f) != 0 || planfile_read(p, path) < 0 || reach_open(r, p) < 0) {
		printf("Bail out! %s\n", fail_text());
		exit(1);
	}
}

/* A line over a, b and c; a hub h with x, y and z; and one that has the same host twice. */
#define LINE "plan 1\nhost a\nhost b\nhost c\nhost d spare\nfeed tcp://{a}:1\ntake tcp://{c}:5\n" \
	"run a ds-embed -i @tcp://*:1 -i @tcp://{a}:2 -o ipc://{run}/0\nrun a ds-block -i @ipc://{run}/0 -o tcp://{b}:3\n" \
	"run b ds-block -i @tcp://{b}:3 -o nccl:tcp://{c}:4\nrun c ds-block -i nccl:@tcp://*:4 -o ipc://{run}/0\n" \
	"run c ds-head -i @ipc://{run}/0 -o ipc://{run}/1\nrun c ds-sample -i @ipc://{run}/1 -o tcp://{a}:2 -o @tcp://{c}:5\n"
#define HUB "plan 1\nhost h\nhost x\nhost y\nhost z\nfeed tcp://{h}:1\ntake tcp://{h}:2\n" \
	"run h ds-route -i @tcp://{h}:1 -o tcp://{x}:3 -o tcp://{y}:4 -o tcp://{z}:5 -o @tcp://{h}:2\n" \
	"run x ds-expert -i @tcp://{x}:3 -o tcp://{h}:6\nrun y ds-expert -i @tcp://{y}:4 -o tcp://{h}:7\n" \
	"run z ds-expert -i @tcp://{z}:5 -o tcp://{h}:8\n" \
	"run h ds-join -i @tcp://{h}:6 -i @tcp://{h}:7 -i @tcp://{h}:8 -o ipc://{run}/0\n"
#define PROXY "plan 1\nhost a\nhost b\nfeed tcp://{a}:1\ntake tcp://{b}:2\n" \
	"run a ds-block -i @tcp://{a}:1 -o tcp://10.9.9.9:3\nrun b ds-block -i @tcp://{b}:3 -o @tcp://{b}:2\n" \
	"run b ds-relay -i tcp://elsewhere:77 -o tcp://{b}:3\n"

/* Each link that touches one of these hosts breaks ('.': the driver); who is to blame, one after the other? */
static void
broken(const char *plan, const char *hosts, const char *want, const char *peers, const char *what)
{
	struct planfile p;
	struct reach r;
	char got[16] = "", text[100], first[100] = "";
	size_t n = 0;
	int h;

	read_plan(&p, &r, plan);
	for (int i = 0; i < r.n; i++) {
		const struct reach_link *l = &r.l[i];
		char from = l->from == p.nhosts ? '.' : *p.hosts[l->from].name, to = l->to == p.nhosts ? '.' : *p.hosts[l->to].name;

		r.l[i].broken = strchr(hosts, from) || strchr(hosts, to);
		if (*hosts && hosts[1] == '-')       /* this one pair */
			r.l[i].broken = (from == hosts[0] && to == hosts[2]) || (from == hosts[2] && to == hosts[0]);
	}
	while ((h = reach_culprit(&r, 0, NULL, text, sizeof(text))) >= 0 && n < sizeof(got) - 1) {
		got[n++] = h == p.nhosts ? '.' : *p.hosts[h].name;
		if (n == 1)
			snprintf(first, sizeof(first), "%s", text);
		reach_excuse(&r, h);
	}
	fail(FAIL_DATA, "got '%s', '%s'", got, first);
	point(strcmp(got, want) == 0 && strcmp(first, peers) == 0, what);
	reach_close(&r);
	planfile_free(&p);
}

static void
check_broken(void)
{
	broken(LINE, "b", "b", "a and c", "the middle of a line");
	broken(LINE, "a", "a", "b, c and this host", "its first host");
	broken(LINE, "c", "c", "a, b and this host", "its last");
	broken(LINE, ".", ".", "a and c", "the driver");
	broken(LINE, "ab", "ab", "b, c and this host", "two hosts of three");
	broken(LINE, "b-c", "b", "c", "one pair: the one that has fewer others");
	broken(LINE, "", "", "", "no link is broken: there is no culprit");
	broken(HUB, "h", "h", "x, y, z and this host", "a hub");
	broken(HUB, "y", "y", "h", "one whose neighbours are all on one host");
	broken(HUB, "xz", "xz", "h", "two of them");
	broken(PROXY, "b", "b", "a and this host", "a link through an address that is not the plan's is found by its port");
}

/* What programs said. */
static void
check_accused(void)
{
	static const char *const address[] = {"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"};
	struct planfile p;
	struct reach r;
	char text[100];
	int peers;

	read_plan(&p, &r, LINE);
	reach_accuse(&r, 2, "@tcp://10.0.0.2:3: no sign of life for 2 seconds", address);
	reach_accuse(&r, 3, "@tcp://*:4: no program connected for 8 seconds", address);
	point(reach_culprit(&r, 1, &peers, text, sizeof(text)) == 1 && peers == 2 && strcmp(text, "a and c") == 0,
	    "each end names the link, and both blame the host between them");
	point(reach_culprit(&r, 0, NULL, NULL, 0) == -1, "which is not the same as a link that was tried");
	reach_reset(&r);
	reach_accuse(&r, 2, "@tcp://10.0.0.2:3: ended without an end frame: the upstream program failed", address);
	reach_accuse(&r, 2, "layer 3: no sign of life for 2 seconds", address);
	reach_accuse(&r, 1, "tcp://10.0.0.2:33: no sign of life for 2 seconds", address);
	reach_accuse(&r, 0, "tcp://10.0.0.2:3: no sign of life for 2 seconds", address);
	point(reach_culprit(&r, 1, &peers, text, sizeof(text)) == -1 && peers == 0, "other messages, endpoints and lines blame no link");
	reach_accuse(&r, -1, "tcp://10.0.0.3:5: no sign of life for 2 seconds", address);
	reach_accuse(&r, 5, "tcp://10.0.0.1:2: handshake failed: another program listens there, or one with another key", address);
	point(reach_culprit(&r, 1, &peers, text, sizeof(text)) == 2 && strcmp(text, "a and this host") == 0, "the driver is a neighbour, too");
	reach_close(&r);
	planfile_free(&p);
}

int
main(void)
{
	int fd = mkstemp(path);

	if (fd < 0)
		return 1;
	close(fd);
	check_broken();
	check_accused();
	unlink(path);
	printf("1..%d\n", points);
	return failures > 0;
}
