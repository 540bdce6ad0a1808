/* ds-keygen: a CURVE key for links between hosts.  */
#include <stdio.h>

#include "base/fail.h"
#include "link/zmq/key.h"
#include "options.h"

static const char help[] =
"usage: ds-keygen [-v] FILE\n"
"\n"
"Generates a key: writes it to FILE, for --key, and prints its public half, for\n"
"the --peers of other hosts.\n"
"\n"
"  -v      print where the secret half is\n"
"  -V, -h  print the version; print this text\n";

int
main(int argc, char **argv)
{
	static struct options o = {.help = help, .operands = 1};
	char public[KEY_TEXT + 1];
	int i = options_parse(&o, argc, argv);

	if (argc - i != 1)
		die(FAIL_USAGE, "give one FILE: see %s -h", program);
	if (key_make(argv[i], public) < 0)
		die_failed();
	puts(public);
	if (o.verbose)
		warn("the secret half is in %s", argv[i]);
	if (fflush(stdout) != 0)
		die(FAIL_SYSTEM, "cannot write the public half, which '%s' has as well:", argv[i]);
	return 0;
}
