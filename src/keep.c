/* keep.c - see keep.h. */
#include "keep.h"
#include "begin.h"
#include "named.h"

#define TRIES 100 /* that others may drop snapshots meanwhile */

typedef struct keeping {
    kvi_keep *keep;
    kv_txn *look; /* of a later commit */
} keeping;

static int keep_pin(void *context, kvi_slice name, const kvi_named *named)
{
    const keeping *k = context;
    kv_db *db = k->look->db;
    kvi_keep *keep = k->keep;
    kv_txn *pin,
        **pins = kvi_os_room(db->os, keep->pins, &keep->cap, keep->n + 1, sizeof *keep->pins);
    (void)name;
    if (!pins)
        return KV_ENOMEM;
    keep->pins = pins;
    int rc = kvi_begin_read(db, &pin);
    if (rc != KV_OK)
        return rc;
    pins[keep->n++] = pin;
    return kvi_reader_repin(pin, named->id);
}

/* Is it still listed, now that it is pinned? */
static int keep_look(void *context, kvi_slice name, const kvi_named *named)
{
    const keeping *k = context;
    kvi_named again;
    int rc = kvi_named_find(k->look, name, &again);
    return rc == KV_NOTFOUND || (rc == KV_OK && again.id != named->id) ? KV_MISMATCH : rc;
}

static int keep_all(keeping *k, kv_txn *txn)
{
    kv_tree *tree = kvi_named_tree(txn);
    int rc = kvi_named_each(tree, keep_pin, k);
    if (rc == KV_OK)
        rc = kvi_refresh(k->look);
    return rc == KV_OK ? kvi_named_each(tree, keep_look, k) : rc;
}

int kvi_keep_begin(kvi_keep *keep, kv_txn *txn)
{
    keeping k = {.keep = keep};
    *keep = (kvi_keep){0};
    if (txn->base.snapshots.root.page == 0)
        return KV_OK;
    int rc = kvi_begin_read(txn->db, &k.look);
    if (rc != KV_OK)
        return rc;
    rc = keep_all(&k, txn);
    kvi_end(k.look);
    if (rc != KV_OK)
        kvi_keep_end(keep, txn->db);
    return rc;
}

int kvi_keep_newest(kvi_keep *keep, kv_db *db, kv_txn **out)
{
    kv_txn *txn;
    int rc = kvi_begin_read(db, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kvi_keep_begin(keep, txn);
    for (int tries = 0; rc == KV_MISMATCH && tries < TRIES; tries++) {
        rc = kvi_refresh(txn);
        if (rc == KV_OK)
            rc = kvi_keep_begin(keep, txn);
    }
    if (rc == KV_MISMATCH)
        rc = kvi_fail(&db->err, KV_EBUSY, "the list of snapshots changes too fast");
    if (rc != KV_OK)
        kvi_end(txn);
    else
        *out = txn;
    return rc;
}

void kvi_keep_end(kvi_keep *keep, kv_db *db)
{
    while (keep->n > 0)
        kvi_end(keep->pins[--keep->n]);
    db->os->free(db->os, keep->pins);
    *keep = (kvi_keep){0};
}
