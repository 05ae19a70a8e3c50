/* api_diff.c - the public calls on what has changed: arguments are checked here. */
#include "diff.h"

static bool snapshots_fit(const kv_txn *from, const kv_txn *to)
{
    return from && to && from->db == to->db && !from->write && !to->write;
}

static bool options_sound(const kv_diff_options *options)
{
    const kv_range *range = options->range;
    return options->size >= sizeof *options && !(options->flags & ~(uint32_t)KV_DIFF_KEYS) &&
           options->reserved == 0 && (options->tree || options->tree_len == 0) &&
           (!range || (range->limit == 0 && !(range->flags & KV_RANGE_REVERSE)));
}

KV_API int kv_diff(kv_txn *from, kv_txn *to, const kv_diff_options *options, kv_diff_info *info)
{
    kv_diff_options known = {.size = sizeof known};
    kv_diff_info found = {.size = sizeof found};
    if (!snapshots_fit(from, to) || (info && info->size < sizeof info->size))
        return KV_EINVAL;
    if (options) {
        if (!options_sound(options))
            return KV_EINVAL;
        known = *options;
    }
    int rc = kvi_txn_usable(from);
    if (rc == KV_OK)
        rc = kvi_txn_usable(to);
    if (rc != KV_OK)
        return rc;
    rc = kvi_diff(from, to, &known, &found);
    if (info) {
        found.size = info->size;
        memcpy(info, &found, KVI_MIN(info->size, sizeof found));
    }
    return rc;
}
