/* inspect.h - a look at one commit as a whole: pinned, with its meta and its records of free pages.
 * Nobody is made to wait for it; it waits for a flush at most. */
#ifndef KVI_INSPECT_H
#define KVI_INSPECT_H

#include "begin.h"

typedef struct kvi_inspection {
    kv_txn *txn;
    kvi_meta meta;
    kvi_space *space; /* NULL: not loaded */
} kvi_inspection;

/* Pins the newest commit and reads its meta. KV_EBUSY: it was overtaken again and again, or a flush
 * takes longer than ten seconds. */
int kvi_inspect_begin(kv_db *db, kvi_inspection *look) KVI_MUST_CHECK;
int kvi_inspect_space(kvi_inspection *look) KVI_MUST_CHECK;
void kvi_inspect_end(kvi_inspection *look);

/* Calls fn with the writer's own records of free pages when it gives way within wait_ms, else with
 * those of the newest commit, as they are on the disk. */
typedef void kvi_space_fn(void *context, const kvi_meta *meta, const kvi_space *space);
int kvi_with_space(kv_db *db, uint32_t wait_ms, kvi_space_fn *fn, void *context) KVI_MUST_CHECK;

#endif
