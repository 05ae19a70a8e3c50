/* replay.h - a backup applied to a database: one ordinary transaction, so that readers keep their
 * snapshots and a crash leaves the commit before or behind. */
#ifndef KVI_REPLAY_H
#define KVI_REPLAY_H

#include "backup.h"

/* As kv_backup_apply says. info is complete and zero. */
int kvi_replay(kv_db *db, const kv_apply_options *options, int durability,
               kv_backup_info *info) KVI_MUST_CHECK;

#endif
