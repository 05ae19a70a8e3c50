/* model_op.h - what an operation must answer, for batches and single calls alike; the model does it. */
#ifndef MODEL_OP_H
#define MODEL_OP_H

#include "kv.h"
#include "model.h"

/* What kv_op_result should say, and more; bytes are copies. */
typedef struct model_answer {
    kv_op_result is;  /* key, value, number */
    uint64_t deleted; /* grows */
} model_answer;

/* Does one operation, or says why not, then with nothing done (a tree may have been created). Before
 * the first one an answer is all zeros. */
int model_op(model *m, const kv_op *op, size_t key_max, model_answer *answer);

void model_answer_free(model_answer *answer);

/* Does the database's answer say what the model's does, for this kind of operation? Not asked when it
 * failed. */
bool model_answer_agrees(const kv_op *op, const model_answer *answer);

#endif
