/* multi_steps.h - random operations on a multi-value tree, beside the others of the driver.
 *
 * In the model it is an ordinary tree whose keys are pairs in a form of the model's own, so all that
 * compares states compares it, too. */
#ifndef MULTI_STEPS_H
#define MULTI_STEPS_H

#include "driver.h"

#define MULTI_NAME "many"

bool multi_is(kvi_slice tree);

/* What the model has for a pair; valid until the next call. */
kvi_slice multi_pair(kvi_slice key, kvi_slice value);

/* Removes a key with all its values from the model's tree; returns how many it had. */
uint64_t multi_del_key(model *m, kvi_slice key);

/* What the model has for an entry that a cursor found in that tree. */
void multi_entry(kvi_slice tree, kvi_slice *key, kvi_slice *value);

/* A random one for a batch; its bytes are copies, to be freed by driver_op_free. */
void multi_op_build(driver *d, kv_op *op);

/* One operation. NULL, or what differs; *rc: the result that was wrong. */
const char *multi_step(driver *d, int *rc);

#endif
