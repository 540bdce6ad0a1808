/* ds-loss: logits of tokens that are known in, the gradient of their loss out.  */
#include "stage_main.h"

static const char help[] =
    "usage: ds-loss -m MODEL [-q] [-i FROM] [-o TO ...] [-t THREADS] [-r FD] [-v]\n"
    "\n"
    "Computes the loss of the frames that are learned from, and its gradient.\n"
    "\n"
    HELP_MODEL
    "  -q, --quiet            print no line for each step\n"
    HELP_FROM HELP_TO HELP_THREADS HELP_REST;

static int
own(int c, const char *arg, void *to)
{
	(void)c, (void)arg;
	return ((struct stage_options *)to)->quiet = 1;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = {{"quiet", 0, NULL, 'q'}, {0}};
	struct stage_options given = {0};

	return stage_main(STAGE_LOSS,
	    &(struct options){.help = help, .letters = "q", .longs = longs, .own = own,
	    .to = &given}, &given, argc, argv);
}
