/* driver_op.h - random operations that look at a value before they change it: built as kv_op, done by
 * the single calls of the interface or in batches. */
#ifndef DRIVER_OP_H
#define DRIVER_OP_H

#include "driver.h"
#include "model_op.h"

#define DRIVER_UPDATE_FAILS -1000 /* what an update function returns that wants nothing done */

kv_slice driver_copy_of(kvi_slice slice);

/* A random one on the tree of that name; its bytes are copies, to be freed. */
void driver_op_build(driver *d, kvi_slice tree, kv_op *op);
void driver_op_free(kv_op *op);

/* When a put or kv_expire makes it expire: soon, late, or right now, or, of a put, as before. */
void driver_op_expiry(driver *d, kv_op *op);

/* Does an operation by the single call that is meant for it; a conditional put by the one or the other.
 * What it answers are views. A DEL needs KV_PUT_PRESENT or KV_PUT_EQUALS. */
int driver_op_call(kv_tree *tree, const kv_op *op, bool other_way, kv_op_result *result);

/* Builds one, does it by the call that is meant for it, and compares. False: the driver failed. */
bool driver_op_step(driver *d, kv_tree *tree, kvi_slice name);

#endif
