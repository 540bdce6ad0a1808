/* The choice of experts, and sets of them as text. */
/* check: yes */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "device/ops.h"
#include "stage/expert_set.h"
#include "stage/route.h"

static int tests, failed;

static void
ok(int good, const char *what)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, what);
	failed += !good;
}

/* The K experts chosen, as "1,4", in a buffer that the next call overwrites; their weights in w. */
static const char *
choose(const struct config *c, const float *scores, const float *bias, float *w)
{
	const struct router rule = route_rule(c);
	static char text[64];
	float choice[8];
	int32_t idx[8];
	size_t n = 0;

	cpu_choose(&rule, scores, bias, choice, idx, w);
	for (int i = 0; i < c->num_experts_per_tok; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, i ? ",%d" : "%d", idx[i]);
	return text;
}

static void
choices(void)
{
	struct config greedy = {.n_routed_experts = 8, .num_experts_per_tok = 2, .n_group = 1, .topk_group = 1,
	    .topk_method = TOPK_GREEDY, .routed_scaling_factor = 2};
	struct config groups = {.n_routed_experts = 8, .num_experts_per_tok = 2, .n_group = 4, .topk_group = 1,
	    .topk_method = TOPK_GROUP_MAX, .routed_scaling_factor = 1};
	struct config biased = groups;
	static const float s[8] = {.1f, .5f, .2f, .5f, .5f, .4f, .45f, .46f};
	static const float bias[8] = {1, 0, 0, 0, 0, 0, 0, 0};
	static const float hole[8] = {.1f, .5f, .2f, .5f, NAN, .4f, .3f, .3f};
	static const float holes[8] = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};
	float w[8];

	ok(strcmp(choose(&greedy, s, NULL, w), "1,3") == 0, "of equal scores the lower index wins");
	ok(w[0] == 1 && w[1] == 1, "weights are the scores times the factor");
	greedy.norm_topk_prob = 1;
	greedy.num_experts_per_tok = 3;
	ok(strcmp(choose(&greedy, s, NULL, w), "1,3,4") == 0 && w[0] == .5f / 1.5f * 2 && w[2] == w[0],
	    "or divided by their sum first");
	greedy.num_experts_per_tok = 2;
	ok(strcmp(choose(&groups, s, NULL, w), "0,1") == 0, "a group counts as its best, the lower one of equal ones");
	biased.topk_method = TOPK_NOAUX_TC;
	ok(strcmp(choose(&biased, s, NULL, w), "6,7") == 0, "or as the sum of its two best");
	ok(strcmp(choose(&biased, s, bias, w), "0,1") == 0, "a bias counts for groups and choice");
	ok(w[0] == s[0] && w[1] == s[1], "but not for the weights");
	ok(strcmp(choose(&greedy, hole, NULL, w), "1,4") == 0 && isnan(w[0]) && isnan(w[1]),
	    "a score that is not a number is chosen, and seen in the weights");
	ok(strcmp(choose(&biased, holes, bias, w), "0,1") == 0 && isnan(w[0]), "also where none is a number");
}

/* The set as it is written, or the message. */
static const char *
set(const char *text, int E)
{
	static struct buf b;
	static struct expert_set s;

	b.n = 0;
	if (expert_set_parse(&s, text, E, FAIL_USAGE) < 0)
		return fail_status() == FAIL_USAGE ? "usage" : "other";
	return expert_set_text(&s, E, &b) < 0 ? "no memory" : (const char *)b.p;
}

static void
sets(void)
{
	static const char *const wrong[] = {"", ",", "1,", ",1", "1-", "-1", "3-2", "16", "0-16", "a", "ss", "s,s", "1,1",
	    "0-3,2", "1 ", "99999999999999999999", "0-7;s", "+1"};
	struct expert_set a, b;
	int bad = 0;

	ok(strcmp(set("s,3,1-2,8,9", 16), "1-3,8-9,s") == 0, "a set is written one way, whatever way it came");
	ok(strcmp(set("0-15,s", 16), "0-15,s") == 0 && strcmp(set("s", 0), "s") == 0 && strcmp(set("15", 16), "15") == 0,
	    "all, none but the shared ones, and the last");
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		bad += strcmp(set(wrong[i], 16), "usage") != 0;
	ok(bad == 0, "what is no set is refused");
	ok(expert_set_parse(&a, "0-7", 16, FAIL_USAGE) == 0 && expert_set_parse(&b, "8-15", 16, FAIL_USAGE) == 0 &&
	    expert_set_merge(&a, &b, 16) == 0 && !expert_set_is_all(&a, 16), "all but the shared ones are not all");
	b = (struct expert_set){.shared = 1};
	ok(expert_set_merge(&a, &b, 16) == 0 && expert_set_is_all(&a, 16), "with them they are");
	ok(expert_set_merge(&a, &b, 16) < 0 && strstr(fail_text(), "shared experts: done twice"), "none is done twice");
}

int
main(void)
{
	choices();
	sets();
	printf("1..%d\n", tests);
	return failed > 0;
}
