/* differ.h - kv_diff held against the model: what it reports, done to the old state, gives the new. */
#ifndef DIFFER_H
#define DIFFER_H

#include "kv.h"
#include "model.h"

/* The states are those that the transactions see. NULL, or what is wrong. info (may be NULL)
 * receives what kv_diff counted. */
const char *differ_check(kv_txn *from, model_state *old, kv_txn *to, const model_state *now);

#endif
