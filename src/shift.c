/* shift.c - see shift.h. */
#include "shift.h"
#include "mutant.h"
#include "walk.h"

typedef struct shift_place {
    kvi_file *file;
    uint64_t offset;
} shift_place;

static int shift_piece(void *context, uint64_t offset, const uint8_t *bytes, size_t len)
{
    const shift_place *place = context;
    return kvi_file_write(place->file, place->offset + offset, bytes, len);
}

/* What is left of the last page is zero. */
static int shift_pad(kv_txn *txn, const kvi_large *large, uint64_t start)
{
    kv_db *db = txn->db;
    size_t len = (size_t)((large->pages << db->file.page_shift) - large->stored_len);
    memset(db->scratch, 0, len);
    return len ? kvi_file_write(&db->file, start + large->stored_len, db->scratch, len) : KV_OK;
}

int kvi_shift_value(kv_txn *txn, kvi_large *large, kvi_pgno first)
{
    kvi_file *file = &txn->db->file;
    shift_place place = {file, first << file->page_shift};
    kvi_txn_writes(txn);
    if (!KVI_MUTANT(MOVED_UNCOUNTED))
        txn->sealed.walk += large->pages << file->page_shift;
    int rc = kvi_walk_large(file, large, shift_piece, &place);
    if (rc == KV_OK)
        rc = shift_pad(txn, large, place.offset);
    large->ptr = (kvi_ptr){first, txn->id};
    return rc;
}
