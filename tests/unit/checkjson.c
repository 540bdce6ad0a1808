/* TAP: what is taken as JSON, what is refused, and what the messages say. */
/* check: yes */
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/json.h"
#include "point.h"

static cJSON *
parse(const char *text)
{
	return json_parse(text, strlen(text));
}

static void
refused(const char *text, size_t n, const char *message)
{
	cJSON *o = json_parse(text, n);
	char what[200];

	snprintf(what, sizeof(what), "refused: %s", message);
	point(!o && fail_status() == FAIL_DATA && strcmp(fail_text(), message) == 0, what);
	cJSON_Delete(o);
}

static void
check_text(void)
{
	char deep[5000];
	cJSON *o = parse("\xef\xbb\xbf{\"\xc3\xa4\xf0\x9f\x98\x80\": \"\\\\u0000\"}\n");

	point(o && strcmp(o->child->valuestring, "\\u0000") == 0, "UTF-8, a byte order mark, an escaped backslash before u0000");
	cJSON_Delete(o);
	refused("", 0, "empty, not JSON");
	refused("{\"a\": 1", 7, "byte 7: not valid JSON");
	refused("{} {}", 5, "byte 3: not valid JSON");
	refused("{}\0{}", 5, "byte 2 is NUL");
	refused("{\"a\": NaN}", 10, "byte 6: NaN is not a JSON number");
	refused("[\"12345678901234567\xff\"]", 21, "byte 19 is not UTF-8");
	refused("\"\xed\xa0\x80\"", 5, "byte 1 is not UTF-8");
	refused("\"\xc0\x80\"", 4, "byte 1 is not UTF-8");
	refused("\"\xf0\x9f\x98", 4, "byte 1 is not UTF-8");
	refused("{\"a\\\\\\u0000\": 1}", 16, "byte 5: a NUL in a string");
	refused("{\"a\\\\\\u12g4\": 1}", 16, "byte 5: not valid JSON");
	refused("\"\\u12", 5, "byte 1: not valid JSON");
	memset(deep, '[', sizeof(deep));
	deep[sizeof(deep) - 1] = 0;
	o = parse(deep);
	point(!o && strstr(fail_text(), "not valid JSON"), "refused: nesting that is too deep");
	cJSON_Delete(o);
}

static void
check_values(void)
{
	static const char *const names[] = {"silu", "gelu", NULL};
	cJSON *o = parse("{\"n\": 7, \"h\": 1.5, \"big\": 1e999, \"no\": null, \"s\": \"relu\", \"t\": true, \"x\": 1, \"x\": 2, \"l\": [1]}");
	int n = -5;
	double d = -5;
	const char *s = NULL;
	const cJSON *v = NULL;
	uint64_t u = 0;

	point(json_int(o, "n", JSON_REQUIRED, 0, 7, &n) == 1 && n == 7, "an integer in its range");
	point(json_number(o, "h", JSON_REQUIRED, 0, 2, &d) == 1 && d == 1.5, "a number in its range");
	n = -5;
	point(json_int(o, "n", JSON_OPTIONAL, 8, 9, &n) < 0 && !strcmp(fail_text(), "n is 7, must be between 8 and 9") && n == -5,
	    "an integer out of range names key, value and range");
	point(json_int(o, "h", JSON_OPTIONAL, 0, 9, &n) < 0 && !strcmp(fail_text(), "h is 1.5, must be an integer"), "a fraction is no integer");
	point(json_number(o, "big", JSON_OPTIONAL, 0, 1e300, &d) < 0, "an infinite number is out of every range");
	point(json_int(o, "no", JSON_OPTIONAL, 0, 9, &n) == 0 && json_int(o, "none", JSON_OPTIONAL, 0, 9, &n) == 0 && n == -5,
	    "null and missing keys leave the default");
	point(json_int(o, "no", JSON_REQUIRED, 0, 9, &n) < 0 && !strcmp(fail_text(), "no is missing"), "null is missing where a value must be");
	point(json_string(o, "t", JSON_REQUIRED, &s) < 0 && !strcmp(fail_text(), "t is true, must be a string"), "a value of another type is refused");
	point(json_object(o, "l", JSON_REQUIRED, &v) < 0 && !strcmp(fail_text(), "l is an array, must be an object"), "an array is no object");
	point(json_choice(o, "s", JSON_REQUIRED, names, &n) < 0 &&
	    !strcmp(fail_text(), "s is 'relu', which is not supported (known: silu gelu)"), "an unknown name is listed with those known");
	point(json_int(o, "x", JSON_REQUIRED, 0, 9, &n) < 0 && !strcmp(fail_text(), "x appears twice"), "a key that appears twice is refused");
	point(json_unique(o) < 0 && !strcmp(fail_text(), "'x' appears twice"), "a whole object can be searched for keys that are there twice");
	point(json_whole(cJSON_GetObjectItem(o, "n"), 7, &u) == 0 && u == 7 && json_whole(cJSON_GetObjectItem(o, "n"), 6, &u) < 0 &&
	    json_whole(cJSON_GetObjectItem(o, "h"), 7, &u) < 0 && json_whole(cJSON_GetObjectItem(o, "s"), 7, &u) < 0, "whole numbers");
	cJSON_Delete(o);
}

static void
check_raw(void)
{
	static const char text[] =
	    "\xef\xbb\xbf { \"a\":[{\"id\": 1}, \"\\\"}],\"] , \"id\":\t18446744073709551615\n, "
	    "\"id\": 2, \"s\": \"x\\\\\", \"o\": {}}";
	size_t n = 0;
	const char *s = json_raw(text, "id", &n);

	point(s && n == 20 && memcmp(s, "18446744073709551615", n) == 0,
	    "the text of a number has all its digits");
	s = json_raw(text, "a", &n);
	point(s && n == 20 && s[n - 1] == ']', "that of an array reaches to its end");
	s = json_raw(text, "s", &n);
	point(s && n == 5 && memcmp(s, "\"x\\\\\"", n) == 0, "that of a string has its quotes");
	s = json_raw(text, "o", &n);
	point(s && n == 2 && !json_raw(text, "z", &n) && !json_raw("{}", "z", &n),
	    "an empty object, and keys that are missing");
}

int
main(void)
{
	check_raw();
	check_text();
	check_values();
	printf("1..%d\n", points);
	return failures != 0;
}
