/* driver_replay.h - random changes that reach the database as a backup, from an original that is only
 * a model: for runs in which every commit is made by kv_backup_apply. */
#ifndef DRIVER_REPLAY_H
#define DRIVER_REPLAY_H

#include "driver.h"

/* As driver_group: one commit, which the model remembers, or a failure. */
bool driver_replay(driver *d, uint32_t flags, model_state **unknown);

#endif
