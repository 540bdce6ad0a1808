/*
 * Records of a file: JSON lines.
 *
 * Of --sft, a line is one of
 *	{"ids": [...], "weights": [...]}        weights: as many as ids
 *	{"prompt_ids": [...], "ids": [...]}     an answer line: weight 1 on ids
 *	{"prompt": "...", "answer": "..."}      by the chat template: weight 1 on the answer and
 *	                                        its end of sequence
 * Of --records, answer lines with rewards and the log probabilities of their tokens: `prompt_ids`
 * and `ids`, or all tokens in `ids` and their number before the answer as `prompt_tokens`.  Lines
 * with the same `id` are answers to one prompt.
 */
#ifndef DS_RECORDS_FILE_H
#define DS_RECORDS_FILE_H

#include "arch/model.h"
#include "base/json.h"
#include "learning/records.h"
#include "token/prompt.h"

struct records_file {
	struct learn_record *p;         /* [n], those of a group one after another */
	size_t n, cap;
	size_t *groups;                 /* [ngroups + 1] first record of each group; of --sft each
					 * record is a group */
	size_t ngroups;
	uint64_t hash;                  /* of the file's bytes */
	/* while it is read */
	const struct model *model;
	struct prompt prompt;           /* .t is NULL until a line has text */
};

/* Read the file at `path`.  policy: as of --records, with advantages; otherwise as of --sft.  0,
 * or -1 and a message with the line and the key; records_close in either case. */
int records_open(struct records_file *f, const struct model *m, const char *path, int policy,
    enum advantage how);
void records_close(struct records_file *f);

/* One line, parsed.  0, or -1 and a message with the key. */
int records_sft(struct records_file *f, const cJSON *line, struct learn_record *r);
int records_policy(struct records_file *f, const cJSON *line, struct learn_record *r);

#endif
