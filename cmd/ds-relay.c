/* ds-relay: frames from any endpoints to any others. */
#include "stage_main.h"

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
	return stage_main(&stage_programs[STAGE_RELAY], &(struct options){.help = help}, NULL, argc, argv);
}
