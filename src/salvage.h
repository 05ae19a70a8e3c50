/* salvage.h - reading what can be read of a damaged file into a new one.
 *
 *   1. The commit: recovery's choice; else a sound meta's; else what a damaged meta says, if its roots
 *      are there; else the newest pages that look like roots.
 *   2. Its trees are walked, entry by entry. A page that is not in its place is looked for in the whole
 *      file, by number, birth and checksum. Where a node cannot be used, a gap is noted.
 *   3. If there is a gap, every page of the file is looked at. Orphans are sound nodes that no walk
 *      came by and no other orphan leads to; while the records of free pages can be believed, only
 *      pages in use count, otherwise any leaf, the newest version of each stretch of keys first, and
 *      branches that the remains of an unusable page mention.
 *   4. Orphans fill the gaps: those that the remains of the unusable page mention, then those whose
 *      keys and birth fit one gap alone; without those records only if there is but one tree.
 *   5. Other orphans become trees named lost+found-N.
 */
#ifndef KVI_SALVAGE_H
#define KVI_SALVAGE_H

#include "kv.h"
#include "os.h"

/* kv_db_salvage on any kvi_os. */
int kvi_salvage(const kvi_os *os, const char *path, const char *dest,
                const kv_salvage_options *options, kv_salvage_info *info) KVI_MUST_CHECK;

#endif
