/*
 * The instruction sets of aarch64: a part of kernels.c.
 */
static const struct set sets[] = {
	PLAIN_C,
};
