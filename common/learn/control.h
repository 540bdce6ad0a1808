/*
 * What a process that learns does with the control frames norm, step and save.
 */
#ifndef DS_LEARN_CONTROL_H
#define DS_LEARN_CONTROL_H

#include "frame/frame.h"
#include "learn/param.h"

#define GRAD_MLP_NORM "grad.mlp_norm"   /* I64 [L][D] */
#define GRAD_EMBED "grad.embed"         /* I64 [V][D], with tied embeddings */

/*
 * Call it once for each frame, before it is forwarded; frames without these ops are left alone.
 *	norm	appends [who, high, low] to `squares` and adds to the tensors above, which are made
 *		where they are missing
 *	step	learn_step, with these tensors; refused: a step that is not the next one
 *	save	learn_save; appends who to `shards`
 * 0, or -1 and a message.
 */
int learn_control(struct learn *l, struct frame *f);

#endif
