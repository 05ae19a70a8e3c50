/* pgset.c - see pgset.h. */
#include "pgset.h"
#include "kv.h"

int kvi_pgset_init(kvi_pgset *set, const kvi_os *os, kvi_pgno limit)
{
    set->os = os;
    set->limit = limit;
    set->size = (size_t)(limit / 64 + 1) * sizeof *set->bits;
    set->bits = os->reserve(os, set->size);
    return set->bits ? KV_OK : KV_ENOMEM;
}

void kvi_pgset_close(kvi_pgset *set)
{
    if (set->bits)
        set->os->release(set->os, set->bits, set->size);
    set->bits = NULL;
}

bool kvi_pgset_add(kvi_pgset *set, kvi_pgno page, uint64_t n)
{
    bool fresh = true;
    for (kvi_pgno end = page + n; page < end; page++) {
        uint64_t bit = (uint64_t)1 << page % 64;
        fresh &= !(set->bits[page / 64] & bit);
        set->bits[page / 64] |= bit;
    }
    return fresh;
}

/* First page at or behind page that is in (wanted) or out of the set; the limit: none. */
static kvi_pgno pgset_seek(const kvi_pgset *set, bool wanted, kvi_pgno page)
{
    uint64_t flip = wanted ? 0 : ~(uint64_t)0;
    while (page < set->limit) {
        uint64_t word = (set->bits[page / 64] ^ flip) >> page % 64;
        if (word)
            return KVI_MIN(page + (unsigned)__builtin_ctzll(word), set->limit);
        page += 64 - page % 64;
    }
    return set->limit;
}

uint64_t kvi_pgset_run(const kvi_pgset *set, bool wanted, kvi_pgno *page)
{
    *page = pgset_seek(set, wanted, *page);
    return pgset_seek(set, !wanted, *page) - *page;
}
