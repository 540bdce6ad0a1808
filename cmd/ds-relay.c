/* ds-relay: frames from any endpoints to any others. */
#include "base/fail.h"
#include "options.h"
#include "stage/relay.h"

static const char help[] =
"usage: ds-relay [-i FROM ...] [-o TO ...] [-d DEVICE] [-r FD] [-v]\n"
"\n"
"Carries frames from any endpoints to any others, byte for byte: a pipe goes on\n"
"over tcp://, several streams become one, one goes to several programs.\n"
"\n"
"  -i, --input FROM       where frames come from; several inputs become one\n"
"                         stream, in order of arrival (standard input)\n"
HELP_TO
"  -d, --device DEVICE    where tensors of nccl: and cuda: arrive (cpu)\n"
"  -r FD                  write a newline to descriptor FD when ready\n"
"  -v                     say at the end what was done\n"
"  -V, -h                 version, this text\n";

int
main(int argc, char **argv)
{
	static struct filter f = {.o = {.help = help, .gpu = 2, .max_in = ENDPOINTS_MAX, .max_out = ENDPOINTS_MAX}};

	options_parse(&f.o, argc, argv);
	filter_links(&f);
	if (!(f.stage.device = device_new(f.o.ordinal, NULL, NULL)))
		filter_fail(&f);
	filter_device(&f);
	filter_ready(&f);
	if (relay_run(f.in, f.o.nin, f.out, f.o.nout) == 0)
		return filter_close(&f, 0);
	fail_print();
	return filter_close(&f, fail_status());
}
