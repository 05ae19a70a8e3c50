/* shrink.h - making the file smaller while it is used.
 *
 * Passes of many small write transactions: the first puts the entries of sparse leaves together
 * (gather.h), the others move a few pages each from the end of the file into the lowest holes
 * (relocate.h); meanwhile the space places all that this handle writes like that. What is moved away falls free as always, when no snapshot needs it, and the file is cut by
 * the commits' own rules.
 */
#ifndef KVI_SHRINK_H
#define KVI_SHRINK_H

#include "txn.h"

/* kv_db_compact; options and info are complete. */
int kvi_shrink(kv_db *db, const kv_compact_options *options, kv_compact_info *info) KVI_MUST_CHECK;

#endif
