/* tail.c - see tail.h. */
#include "tail.h"
#include "flush.h"

/* Pages that the newest commit or the durable one may have. */
static kvi_pgno end_needed(const kvi_head *head)
{
    return KVI_MAX(head->meta.high_water, head->durable_high_water);
}

/* What may be filled ahead in a file that ends there. */
static uint64_t spare_behind(uint64_t end)
{
    return end >= KVI_FILL_FROM ? KVI_FILL_MAX : 0;
}

bool kvi_tail_left(const kv_db *db, const kvi_meta *meta)
{
    uint64_t size = kvi_file_size(&db->file);
    uint64_t end = KVI_MAX(meta->high_water, end_needed(&db->head)) << db->file.page_shift;
    return size > end + spare_behind(end);
}

void kvi_tail_fill(kv_db *db, uint64_t size_before, kvi_pgno high_water)
{
    uint64_t end = high_water << db->file.page_shift, ahead = KVI_MIN(db->grown, KVI_FILL_MAX);
    uint64_t grew = end > size_before ? end - size_before : 0;
    if (grew == 0 && !kvi_space_scarce(db->space))
        return;
    db->grown += grew > 0 ? grew : KVI_FILL_MAX / 16;
    if (end >= KVI_FILL_FROM && grew <= KVI_FILL_MAX &&
        kvi_file_fill(&db->file, size_before + grew, ahead) != KV_OK)
        db->grown = 0;
}

static int pin_before(void *context, const kvi_pin *pin)
{
    const kvi_id *shrunk = context;
    return pin->id < *shrunk ? 1 : 0;
}

static int guest_before(void *context, uint64_t id)
{
    const kvi_id *shrunk = context;
    return id < *shrunk ? 1 : 0;
}

/* Does a snapshot need pages behind the high-water mark? An unanswered question counts as yes. */
static bool tail_needed(kv_db *db)
{
    kvi_id *shrunk = &db->head.shrunk;
    return kvi_readers_scan(&db->readers, pin_before, shrunk) != 0 ||
           (db->role == KVI_SHARER &&
            kvi_lock_pins(&db->lock, &db->err, guest_before, shrunk) != 0);
}

/* Leaves a tail that is no longer than spare. */
static void tail_cut(kv_db *db, uint64_t most, uint64_t spare)
{
    kvi_head *head = &db->head;
    unsigned shift = db->file.page_shift;
    kvi_pgno keep = end_needed(head);
    uint64_t size = kvi_file_size(&db->file);
    if (head->shrunk == 0 || head->durable < head->shrunk || kvi_poisoned(db) ||
        (keep << shift) + spare >= size)
        return;
    if (tail_needed(db))
        return;
    kvi_pgno end = size >> shift, step = KVI_MAX(most >> shift, 1);
    kvi_pgno cut = end - keep > step ? end - step : keep;
    if (kvi_file_truncate(&db->file, cut) == KV_OK && cut == keep)
        head->shrunk = 0;
}

void kvi_tail_trim(kv_db *db)
{
    tail_cut(db, KVI_CUT_MAX, spare_behind(end_needed(&db->head) << db->file.page_shift));
}

void kvi_tail_cut(kv_db *db, uint64_t most)
{
    kvi_head *head = &db->head;
    uint64_t size = kvi_file_size(&db->file);
    if (head->shrunk == 0 && size > end_needed(head) << db->file.page_shift)
        head->shrunk = head->meta.id;
    tail_cut(db, most, 0);
}
