/* edit.c - see edit.h. */
#include "edit.h"

typedef struct edit {
    kv_db *db;
    kvi_slice bytes;
    uint64_t limit;   /* of the new length */
    enum kv_bits how; /* bits */
    uint8_t *made;    /* the new value; NULL: none was needed */
    size_t len;       /* of the value, new or not */
} edit;

/* Room for the new value; an absent one counts as empty. */
static int edit_begin(edit *e, size_t len)
{
    const kvi_os *os = e->db->os;
    e->len = len;
    e->made = os->alloc(os, len + 1);
    return e->made ? KV_OK : KV_ENOMEM;
}

static int edit_run(kv_tree *tree, kvi_slice key, kvi_decide *decide, edit *e)
{
    e->db = tree->txn->db;
    int rc = kvi_update(tree, key, decide, e);
    e->db->os->free(e->db->os, e->made);
    return rc;
}

/* ---- append ---- */

static int append(void *context, const kv_slice *old, kv_slice *value)
{
    edit *e = context;
    size_t had = old ? old->len : 0, more = e->bytes.len;
    if (more > e->limit || had > e->limit - more)
        return kvi_fail(&e->db->err, KV_ETOOBIG,
                        "%zu bytes behind %zu are too many; the limit is %llu", more, had,
                        (unsigned long long)e->limit);
    e->len = had;
    if (old && more == 0)
        return KV_UPDATE_KEEP;
    int rc = edit_begin(e, had + more);
    if (rc != KV_OK)
        return rc;
    if (had)
        memcpy(e->made, old->ptr, had);
    if (more)
        memcpy(e->made + had, e->bytes.ptr, more);
    *value = (kv_slice){e->made, e->len};
    return KV_UPDATE_STORE;
}

int kvi_append(kv_tree *tree, kvi_slice key, kvi_slice bytes, uint64_t limit, uint64_t *len)
{
    edit e = {.bytes = bytes, .limit = limit ? limit : KV_VALUE_MAX};
    int rc = edit_run(tree, key, append, &e);
    if (rc == KV_OK && len)
        *len = e.len;
    return rc;
}

/* ---- bits ---- */

static uint8_t combine(enum kv_bits how, uint8_t a, uint8_t b)
{
    switch (how) {
    case KV_BITS_AND:
        return a & b;
    case KV_BITS_OR:
        return a | b;
    default:
        return a ^ b;
    }
}

/* Byte by byte; the shorter of the two goes on with zeros. */
static int bits(void *context, const kv_slice *old, kv_slice *value)
{
    edit *e = context;
    kvi_slice had = old ? kvi_slice_of(old->ptr, old->len) : (kvi_slice){0};
    int rc = edit_begin(e, KVI_MAX(had.len, e->bytes.len));
    if (rc != KV_OK)
        return rc;
    for (size_t i = 0; i < e->len; i++)
        e->made[i] =
            combine(e->how, i < had.len ? had.ptr[i] : 0, i < e->bytes.len ? e->bytes.ptr[i] : 0);
    *value = (kv_slice){e->made, e->len};
    return KV_UPDATE_STORE;
}

int kvi_bits(kv_tree *tree, kvi_slice key, enum kv_bits how, kvi_slice bytes)
{
    edit e = {.bytes = bytes, .how = how};
    return edit_run(tree, key, bits, &e);
}
