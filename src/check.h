/* check.h - holding the whole file against the invariants.
 *
 * What is checked, by the names that problems carry:
 *   N1-N9  nodes (node.h)
 *   T1-T5, T7, T8  trees (tree.h)
 *   V1-V3  values, C1 catalog (walk.h)
 *   V4     compressed bytes give as many bytes as their entry says
 *   S1     each page is used once, or dead or free (space.h); also a page that is neither: leaked
 *   M0     one of the two metas is whole
 *   M1     the meta's seal and walk size are those of the pages newer than its durable commit
 *   M2     the file has the pages that the meta says
 */
#ifndef KVI_CHECK_H
#define KVI_CHECK_H

#include "carve.h"
#include "txn.h"

/* kv_db_check: of one commit, which is pinned meanwhile. Nobody waits. */
int kvi_check(kv_db *db, const kv_check_options *options) KVI_MUST_CHECK;

/* The same of a file that no open takes: of the commit that salvage would read, as it lies there. */
int kvi_check_carved(kvi_carve *carve, const kv_check_options *options) KVI_MUST_CHECK;

#endif
