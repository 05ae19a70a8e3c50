/* entry.c - see entry.h. */
#include "entry.h"
#include "node.h"

static void large_get(const uint8_t *bytes, kvi_large *large)
{
    large->ptr.page = kvi_get48(bytes + KVI_L_page);
    large->ptr.birth = kvi_get48(bytes + KVI_L_birth);
    large->pages = kvi_get32(bytes + KVI_L_pages);
    large->stored_len = kvi_get64(bytes + KVI_L_stored_len);
    large->raw_len = kvi_get64(bytes + KVI_L_raw_len);
    large->checksum = kvi_get64(bytes + KVI_L_checksum);
}

void kvi_large_put(uint8_t *bytes, const kvi_large *large)
{
    kvi_put48(bytes + KVI_L_page, large->ptr.page);
    kvi_put48(bytes + KVI_L_birth, large->ptr.birth);
    kvi_put32(bytes + KVI_L_pages, (uint32_t)large->pages);
    kvi_put64(bytes + KVI_L_stored_len, large->stored_len);
    kvi_put64(bytes + KVI_L_raw_len, large->raw_len);
    kvi_put64(bytes + KVI_L_checksum, large->checksum);
}

/* A leaf of keys of one length has no special entry. */
static bool leaf_plain(const uint8_t *page)
{
    return kvi_get16(page + KVI_P_fixed_key) != 0;
}

static kvi_stored leaf_stored(const uint8_t *page, uint32_t page_size, unsigned i)
{
    kvi_stored stored;
    stored.bytes = kvi_leaf_value(page, page_size, i, &stored.special);
    return stored;
}

uint64_t kvi_leaf_least_expiry(const uint8_t *page, uint32_t page_size)
{
    uint64_t least = 0;
    for (unsigned i = 0; !leaf_plain(page) && i < kvi_node_count(page); i++)
        least = kvi_expiry_min(least, kvi_stored_expiry(leaf_stored(page, page_size, i)));
    return least;
}

unsigned kvi_leaf_expired(const uint8_t *page, uint32_t page_size, unsigned from, unsigned to,
                          uint64_t now)
{
    unsigned n = 0;
    for (unsigned i = from; !leaf_plain(page) && i < to; i++)
        n += kvi_stored_expired(leaf_stored(page, page_size, i), now);
    return n;
}

size_t kvi_entry_ref_at(const kvi_entry *entry)
{
    return 1u + (entry->flags & KVI_ENTRY_COMPRESSED ? 1 : 0) +
           (entry->flags & KVI_ENTRY_EXPIRY ? 8 : 0);
}

static bool entry_parse_special(kvi_slice bytes, kvi_entry *entry)
{
    const uint8_t *at = bytes.ptr, *end = bytes.ptr + bytes.len;
    entry->flags = *at++;
    bool large = entry->flags & KVI_ENTRY_LARGE;
    bool compressed = entry->flags & KVI_ENTRY_COMPRESSED;
    size_t need = (compressed ? 1 : 0) + (entry->flags & KVI_ENTRY_EXPIRY ? 8 : 0) +
                  (large        ? KVI_LARGE_REF_SIZE
                   : compressed ? 8
                                : 0);
    if ((entry->flags & ~7) || (size_t)(end - at) < need)
        return false;
    if (compressed)
        entry->codec = *at++;
    if (entry->flags & KVI_ENTRY_EXPIRY) {
        entry->expiry = kvi_get64(at);
        at += 8;
        if (entry->expiry == 0)
            return false;
    }
    if (large) {
        large_get(at, &entry->large);
        entry->raw_len = entry->large.raw_len;
        return end - at == KVI_LARGE_REF_SIZE && entry->large.stored_len > 0 &&
               (compressed || entry->large.raw_len == entry->large.stored_len);
    }
    if (compressed) {
        entry->raw_len = kvi_get64(at);
        at += 8;
    }
    entry->payload = kvi_slice_of(at, (size_t)(end - at));
    if (!compressed)
        entry->raw_len = entry->payload.len;
    return true;
}

bool kvi_entry_parse(kvi_stored stored, kvi_entry *entry)
{
    memset(entry, 0, sizeof *entry);
    if (stored.special)
        return stored.bytes.len > 0 && entry_parse_special(stored.bytes, entry);
    entry->payload = stored.bytes;
    entry->raw_len = stored.bytes.len;
    return true;
}

/* The run lies where large values may be, and its length is that of its bytes. */
static bool large_valid(const kvi_large *large, uint32_t page_size, kvi_pgno high_water,
                        kvi_id newest)
{
    return large->ptr.birth >= 1 && large->ptr.birth <= newest &&
           large->ptr.page >= (KVI_LARGE_FROM + page_size - 1) / page_size &&
           large->ptr.page < high_water && large->pages <= high_water - large->ptr.page &&
           large->pages == kvi_large_pages(large->stored_len, page_size);
}

bool kvi_entries_valid(const uint8_t *page, uint32_t page_size, kvi_pgno high_water, kvi_id newest)
{
    kvi_entry entry;
    for (unsigned i = 0; !leaf_plain(page) && i < kvi_node_count(page); i++) {
        kvi_stored stored = leaf_stored(page, page_size, i);
        if (!stored.special)
            continue;
        if (!kvi_entry_parse(stored, &entry))
            return false;
        if ((entry.flags & KVI_ENTRY_LARGE) &&
            !large_valid(&entry.large, page_size, high_water, newest))
            return false;
    }
    return true;
}
