/*
 * sin and cos in double precision (fixed.c), where the GPU's kernels find them too.
 */
#ifndef DS_FIXED_SIN_H
#define DS_FIXED_SIN_H

#include "cpu/cpu.h"

#define FIXED_COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* c[0] + c[1] x + c[2] x^2 + ... */
EVERYWHERE double
fixed_series(const double *c, int n, double x)
{
	double s = c[n - 1];

	for (int i = n - 2; i >= 0; i--)
		s = fma(s, x, c[i]);
	return s;
}

/* sin(a + b) for |a| <= pi/4 and b a correction below its last place. */
EVERYWHERE double
fixed_sin_near(double a, double b)
{
	static const double c[] = { -1. / 6, 1. / 120, -1. / 5040, 1. / 362880, -1. / 39916800, 1. / 6227020800,
	    -1. / 1307674368000, 1. / 355687428096000 };
	double z = a * a;

	return a + fma(z * a, fixed_series(c, FIXED_COUNT(c), z), b * fma(z, -0.5, 1.0));
}

EVERYWHERE double
fixed_cos_near(double a, double b)
{
	static const double c[] = { 1. / 24, -1. / 720, 1. / 40320, -1. / 3628800, 1. / 479001600, -1. / 87178291200,
	    1. / 20922789888000, -1. / 6402373705728000 };
	double z = a * a, half = 0.5 * z, w = 1 - half;

	return w + (((1 - w) - half) + fma(z * z, fixed_series(c, FIXED_COUNT(c), z), -(a * b)));
}

/* sin(x + quarter pi/2): x less the nearest multiple of pi/2, whose first
 * part cancels exactly and whose others leave a sum a + b. */
EVERYWHERE double
fixed_sin_quarter(double x, int quarter)
{
	double n, r, p, low, a, b;
	long q;

	if (!(fabs(x) < 0x1p30))
		return NAN;
	n = rint(x * 0x1.45f306dc9c883p-1);
	r = fma(-n, 0x1.921fb54442d18p+0, x);
	p = n * 0x1.1a62633145c07p-54;
	low = fma(n, 0x1.1a62633145c07p-54, -p) + n * -0x1.f1976b7ed8fbcp-110;
	a = r - p;
	b = ((r - a) - p) - low;
	r = a + b;
	b = (a - r) + b;
	q = (long)n + quarter;
	a = q & 1 ? fixed_cos_near(r, b) : fixed_sin_near(r, b);
	return q & 2 ? -a : a;
}

#endif
