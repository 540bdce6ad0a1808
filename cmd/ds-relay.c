/* ds-relay: frames from any endpoints to any others.  */
#include "stage_main.h"

static const char help[] =
"usage: ds-relay [-i FROM ...] [-o TO ...] [-d DEVICE] [-r FD] [-v]\n"
"\n"
"Forwards frames between any endpoints, byte for byte: a pipe over tcp://,\n"
"several streams into one, one stream to several programs.\n"
"\n"
"  -i, --input FROM       input, repeatable: path, - or address (stdin)\n"
HELP_TO
"  -d, --device DEVICE    GPU for tensors of nccl: and cuda: endpoints (cpu)\n"
HELP_REST;

int
main(int argc, char **argv)
{
	return stage_main(STAGE_RELAY, &(struct options){.help = help}, NULL, argc, argv);
}
