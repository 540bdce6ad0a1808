#include <string.h>

#include "base/fail.h"
#include "inspect/extract.h"

#define EXPONENT_MAX 400        /* larger ones would be very long in decimal */
#define INTEGER_DIGITS 18       /* of the parts of a fraction */

/* A number in a text: [digits][.digits] x 10^exponent, or the fraction num / den. */
struct number {
	int negative;
	struct buf digits;      /* without separators and point */
	size_t point;           /* number of digits before the point */
	long exponent;
	uint64_t num, den;      /* den 0: no fraction */
};

static int
is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static size_t
count_digits(const char *p, const char *end)
{
	size_t n = 0;

	while (p + n < end && is_digit(p[n]))
		n++;
	return n;
}

/* Bytes of s if p begins with it, or 0. */
static size_t
begins(const char *p, const char *end, const char *s)
{
	size_t n = strlen(s);

	return (size_t)(end - p) >= n && memcmp(p, s, n) == 0 ? n : 0;
}

static const char *
skip_blanks(const char *p, const char *end)
{
	while (p < end && *p == ' ')
		p++;
	return p;
}

/* The digits before the point: 1702, 1,702 or 1{,}702. Returns the end, or NULL and a message. */
static const char *
read_integer(const char *p, const char *end, struct buf *digits)
{
	size_t n = count_digits(p, end), comma;
	int grouped = n <= 3;

	do {
		if (buf_add(digits, p, n) < 0)
			return NULL;
		p += n;
		comma = begins(p, end, "{,}");
		comma = comma ? comma : begins(p, end, ",");
		n = comma && grouped ? count_digits(p + comma, end) : 0;
		p += n == 3 ? comma : 0;
	} while (n == 3);
	return p;
}

/* At most INTEGER_DIGITS digits at p. Returns their number, or 0. */
static size_t
read_u64(const char *p, const char *end, uint64_t *out)
{
	size_t n = count_digits(p, end);

	*out = 0;
	for (size_t i = 0; i < n && n <= INTEGER_DIGITS; i++)
		*out = *out * 10 + (uint64_t)(p[i] - '0');
	return n <= INTEGER_DIGITS ? n : 0;
}

/* An exponent at p: e5, \times 10^{5}. Returns its length, or 0. */
static size_t
read_exponent(const char *p, const char *end, long *out)
{
	static const char *const times[] = {"\\times", "\\cdot", "\xc3\x97", "*", "x"};
	const char *q = p;
	int brace = 0, negative;
	uint64_t value;
	size_t n = 0;

	if (p < end && (*p == 'e' || *p == 'E')) {
		q++;
	} else {
		q = skip_blanks(q, end);
		for (size_t i = 0; i < sizeof(times) / sizeof(*times) && n == 0; i++)
			n = begins(q, end, times[i]);
		q = skip_blanks(q + n, end);
		if (n == 0 || !begins(q, end, "10^"))
			return 0;
		q += 3;
		brace = q < end && *q == '{';
		q += brace;
	}
	negative = q < end && *q == '-';
	q += q < end && (*q == '-' || *q == '+');
	n = read_u64(q, end, &value);
	if (n == 0 || value > EXPONENT_MAX || (brace && (q + n >= end || q[n] != '}')))
		return 0;
	*out = negative ? -(long)value : (long)value;
	return (size_t)(q - p) + n + (size_t)brace;
}

/* \frac{1}{2}, \frac12. Returns its length, or 0. */
static size_t
read_frac(const char *p, const char *end, struct number *x)
{
	static const char *const names[] = {"\\frac", "\\dfrac", "\\tfrac"};
	uint64_t part[2];
	const char *q = p;
	size_t n = 0;

	for (int i = 0; i < 3 && n == 0; i++)
		n = begins(p, end, names[i]);
	if (n == 0)
		return 0;
	q += n;
	for (int i = 0; i < 2; i++) {
		int brace = q < end && *q == '{';

		q += brace;
		n = read_u64(q, brace || q >= end ? end : q + 1, &part[i]);
		if (n == 0 || (brace && (q + n >= end || q[n] != '}')))
			return 0;
		q += n + (size_t)brace;
	}
	if (part[1] == 0)
		return 0;
	x->num = part[0];
	x->den = part[1];
	return (size_t)(q - p);
}

/* What follows an integer and makes it a fraction: /2, or the \frac of a mixed number. */
static size_t
read_over(const char *p, const char *end, struct number *x)
{
	uint64_t whole, den;
	size_t n;

	if (read_u64((const char *)x->digits.p, (const char *)x->digits.p + x->digits.n,
	    &whole) == 0)
		return 0;
	if ((n = read_frac(p, end, x)) > 0) {
		if (__builtin_mul_overflow(whole, x->den, &whole) || __builtin_add_overflow(x->num,
		    whole, &x->num))
			x->den = 0;
		return x->den ? n : 0;
	}
	if (!begins(p, end, "/") || (n = read_u64(p + 1, end, &den)) == 0 || den == 0)
		return 0;
	p += 1 + n;
	if (p < end && (*p == '/' || (*p == '.' && count_digits(p + 1, end) > 0)))
		return 0;       /* a date, or a quotient of decimals */
	x->num = whole;
	x->den = den;
	return 1 + n;
}

/* 1 if the bytes before the number make it negative: -5, -$5, but not 3-5. */
static int
is_negative(const char *text, const char *p)
{
	if (p > text && p[-1] == '$')
		p--;
	if (p > text && p[-1] == '\\')
		p--;
	if (p > text && p[-1] == '-')
		p--;
	else if (p - text >= 3 && memcmp(p - 3, "\xe2\x88\x92", 3) == 0)        /* U+2212 */
		p -= 3;
	else
		return 0;
	return p == text || !(is_digit(p[-1]) || (p[-1] >= 'a' && p[-1] <= 'z') ||
	    (p[-1] >= 'A' && p[-1] <= 'Z') ||
	    strchr(")]}", p[-1]));
}

/* Read a number that begins at p. Returns its end, p if there is none, or NULL and a message. */
static const char *
read_number(const char *text, const char *p, const char *end, struct number *x)
{
	const char *q = p;
	size_t n;

	x->digits.n = 0;
	x->exponent = 0;
	x->den = 0;
	x->negative = is_negative(text, p);
	if (*p == '\\')
		return p + read_frac(p, end, x);
	if (!is_digit(*p) && !(*p == '.' && count_digits(p + 1, end) > 0 &&
	    !(p > text && is_digit(p[-1]))))
		return p;
	if (!(q = read_integer(q, end, &x->digits)))
		return NULL;
	x->point = x->digits.n;
	/* 12/25/2026 is a date */
	if ((p == text || p[-1] != '/') && (n = read_over(q, end, x)) > 0)
		return q + n;
	n = q < end && *q == '.' ? count_digits(q + 1, end) : 0;
	if (n > 0 && buf_add(&x->digits, q + 1, n) < 0)
		return NULL;
	q += n > 0 ? 1 + n : 0;
	return q + read_exponent(q, end, &x->exponent);
}

/* Append the decimal number d[n], whose point is after `point` digits (also < 0, > n). */
static int
print_decimal(int negative, const unsigned char *d, size_t n, long point, struct buf *to)
{
	int r = 0;

	while (n > 0 && *d == '0') {
		d++;
		n--;
		point--;
	}
	while (n > 0 && d[n - 1] == '0')
		n--;
	if (n == 0)
		return buf_addc(to, '0') < 0 ? -1 : 1;
	if (negative)
		r = buf_addc(to, '-');
	if (point <= 0 && r == 0)
		r = buf_addc(to, '0');
	for (long i = point < 0 ? point : 0; r == 0 && (i < (long)n || i < point); i++) {
		if (i == (point < 0 ? point : 0) && point <= 0)
			r = buf_addc(to, '.');
		else if (i == point)
			r = buf_addc(to, '.');
		if (r == 0)
			r = buf_addc(to, i < 0 || i >= (long)n ? '0' : d[i]);
	}
	return r < 0 ? -1 : 1;
}

/* Append num / den in lowest terms, as a decimal if it ends. */
static int
print_fraction(int negative, uint64_t num, uint64_t den, struct buf *to)
{
	uint64_t a = num, b = den, rest;
	unsigned __int128 value;
	char digits[64];
	int places = 0, n = sizeof(digits);

	while (b) {
		rest = a % b;
		a = b;
		b = rest;
	}
	num /= a;
	den /= a;
	/* num / den = value / 10^places, if den has the factors 2 and 5 only */
	for (value = num, rest = den; rest > 1 && (rest % 2 == 0 || rest % 5 == 0) &&
	    value < (unsigned __int128)1 << 120; places++) {
		unsigned by = rest % 10 == 0 ? 1 : rest % 5 == 0 ? 2 : 5;

		value *= by;
		rest /= by == 1 ? 10 : by == 2 ? 5 : 2;
	}
	if (rest > 1)
		return buf_addf(to, "%s%llu/%llu", negative && num ? "-" : "",
		    (unsigned long long)num,
		    (unsigned long long)den) < 0 ? -1 : 1;
	for (; value > 0; value /= 10)
		digits[--n] = (char)('0' + (int)(value % 10));
	return print_decimal(negative, (unsigned char *)digits + n, sizeof(digits) - (size_t)n,
	    (long)sizeof(digits) - n - places, to);
}

static int
print_number(const struct number *x, struct buf *to)
{
	if (x->den)
		return print_fraction(x->negative, x->num, x->den, to);
	return print_decimal(x->negative, x->digits.p, x->digits.n, (long)x->point + x->exponent,
	    to);
}

int
extract_number(const char *text, size_t n, struct buf *to)
{
	const char *end = text + n;
	struct number x = {0}, last = {0}, old;
	int r = 0;

	for (const char *p = text, *next; p < end && r >= 0; p = next > p ? next : p + 1) {
		if (!(next = read_number(text, p, end, &x))) {
			r = -1;
			break;
		}
		if (next > p) {
			old = last;
			last = x;
			x = old;
			r = 1;
		}
	}
	if (r > 0)
		r = print_number(&last, to);
	buf_free(&x.digits);
	buf_free(&last.digits);
	return r;
}

int
extract_all_number(const char *text, size_t n, struct buf *to)
{
	const char *end = text + n, *p = text, *next;
	struct number x = {0};
	int r = 0;

	if (p < end && *p == '-')
		p++;
	if (p < end) {
		next = read_number(text, p, end, &x);
		r = !next ? -1 : next == end && next > p ? print_number(&x, to) : 0;
	}
	buf_free(&x.digits);
	return r;
}
