/* driver_group.h - random batches (kv_db_write), done by the database and by the model at once: a few
 * in one transaction, as a leader would do them, each with its own outcome. */
#ifndef DRIVER_GROUP_H
#define DRIVER_GROUP_H

#include "driver.h"

/* Writes a few batches in one commit; flags: durability, as for kv_db_write. True: every outcome was
 * the model's, which remembers the commit. False: some failed (d->failure is the first error) or
 * differed (0). The model then has those that did not fail; after KV_EPOISONED, when nobody knows,
 * it is as before, and *unknown is the state that may be found later, the caller's to release. */
bool driver_group(driver *d, uint32_t flags, model_state **unknown);

#endif
