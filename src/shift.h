/* shift.h - copying a large value of the file to another place in it. */
#ifndef KVI_SHIFT_H
#define KVI_SHIFT_H

#include "entry.h"
#include "txn.h"

/* Writes the value to a run that was taken at first, verifying it; *large then leads there. The old
 * run is left alone. */
int kvi_shift_value(kv_txn *txn, kvi_large *large, kvi_pgno first) KVI_MUST_CHECK;

#endif
