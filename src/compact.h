/* compact.h - building the smallest file that holds the same entries. */
#ifndef KVI_COMPACT_H
#define KVI_COMPACT_H

#include "txn.h"

/* Makes a new database at path, which nobody may have, of all that the read transaction sees. The
 * trees are built anew in key order; it is durable on return. On an error a part may be left at
 * path. Large values are read through the map, one at a time. */
int kvi_compact_to(kv_txn *txn, const char *path) KVI_MUST_CHECK;

#endif
