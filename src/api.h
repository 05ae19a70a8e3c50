/* api.h - argument checks that several public functions share. */
#ifndef KVI_API_H
#define KVI_API_H

#include "txn.h"

#define KVI_DURABILITY_FLAGS ((uint32_t)(KV_TXN_DURABLE | KV_TXN_STRICT | KV_TXN_LAZY))

/* At most one. */
static inline bool kvi_durability_valid(uint32_t flags)
{
    uint32_t chosen = flags & KVI_DURABILITY_FLAGS;
    return !(chosen & (chosen - 1));
}

/* Of a put: one condition or none; it may keep the expiry. */
static inline bool kvi_put_flags_valid(uint32_t flags)
{
    flags &= ~(uint32_t)KV_PUT_KEEP_EXPIRY;
    return flags == 0 || flags == KV_PUT_ABSENT || flags == KV_PUT_PRESENT;
}

/* May this handle write, and in this process? */
int kvi_db_writable(kv_db *db) KVI_MUST_CHECK;

/* What the flags choose; without one, what the database has. */
static inline int kvi_durability_of(const kv_db *db, uint32_t flags)
{
    switch (flags & KVI_DURABILITY_FLAGS) {
    case KV_TXN_DURABLE:
        return KV_DURABLE;
    case KV_TXN_STRICT:
        return KV_STRICT;
    case KV_TXN_LAZY:
        return KV_LAZY;
    default:
        return db->durability;
    }
}

#endif
