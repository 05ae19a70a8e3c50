/* inspect.h - a look at one commit as a whole: pinned, with its meta and its records of free pages.
 * Nobody is made to wait for it, and it waits for nobody. */
#ifndef KVI_INSPECT_H
#define KVI_INSPECT_H

#include "begin.h"

typedef struct kvi_inspection {
    kv_txn *txn;
    kvi_meta meta;
    kvi_space *space; /* NULL: not loaded */
} kvi_inspection;

/* Pins the newest commit and reads its meta. KV_EBUSY: it was overtaken again and again. */
int kvi_inspect_begin(kv_db *db, kvi_inspection *look) KVI_MUST_CHECK;
int kvi_inspect_space(kvi_inspection *look) KVI_MUST_CHECK;
void kvi_inspect_end(kvi_inspection *look);

#endif
