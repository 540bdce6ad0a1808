/*
 * sin, cos, log and exp in double precision as fixed sequences of IEEE
 * operations, for tables and samplers: plain C, the same for every
 * instruction set.  The series are Taylor's, long enough that what is cut
 * off is below a twentieth of the last place.
 */
#include "cpu/fixed_exp.h"

double
fixed_sin(double x)
{
	return fixed_sin_quarter(x, 0);
}

double
fixed_cos(double x)
{
	return fixed_sin_quarter(x, 1);
}

/* x = 2^k (1 + f), 1 + f within sqrt(2) of 1; log(1 + f) = 2 artanh(s) with
 * s = f / (2 + f). */
double
fixed_log(double x)
{
	static const double c[] = { 2. / 3, 2. / 5, 2. / 7, 2. / 9, 2. / 11, 2. / 13, 2. / 15, 2. / 17, 2. / 19,
	    2. / 21, 2. / 23 };
	double f, s, z, half, k;
	uint64_t bits;
	int e = 0;

	if (!(x > 0))
		return x == 0 ? -INFINITY : NAN;
	if (x == INFINITY)
		return x;
	if (x < 0x1p-1022) {
		x *= 0x1p54;
		e = -54;
	}
	memcpy(&bits, &x, sizeof(bits));
	e += (int)(bits >> 52) - 1023;
	bits = (bits & 0xfffffffffffff) | 0x3ff0000000000000;
	memcpy(&f, &bits, sizeof(f));
	if (f > 0x1.6a09e667f3bcdp+0) {
		f *= 0.5;
		e++;
	}
	f -= 1;
	k = e;
	s = f / (2 + f);
	z = s * s;
	half = 0.5 * f * f;
	return fma(k, 0x1.62e42fefa2000p-1, f - (half - fma(s, fma(z, fixed_series(c, FIXED_COUNT(c), z), half),
	    k * 0x1.9ef35793c7673p-41)));
}

double
fixed_exp(double x)
{
	return fixed_exp_of(x);
}
