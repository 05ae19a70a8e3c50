/* merge.h - consecutive backups made into one.
 *
 * Each backup states ranges of keys, with all that is in them (backup.h). The merged one states the
 * union of the ranges, and in each place what the newest backup says that states it; "kept" leads to
 * what the next older one says there. All are read side by side, in the order of the keys, so nothing is
 * held but an entry of each. */
#ifndef KVI_MERGE_H
#define KVI_MERGE_H

#include "backup.h"

/* As kv_backup_merge says. info is complete and zero. */
int kvi_merge(const kvi_os *os, kvi_err *err, const kv_merge_options *options,
              kv_backup_info *info) KVI_MUST_CHECK;

#endif
