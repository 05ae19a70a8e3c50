/* recover.h - which commit a file holds, and making it durable before anything else is written.
 *
 * The rules are R1 to R9 of docs/design.md, 20.
 */
#ifndef KVI_RECOVER_H
#define KVI_RECOVER_H

#include "flush.h"

/* The two meta slots as read. */
typedef struct kvi_slots {
    uint32_t page_size;
    bool valid[2];
    kvi_meta meta[2];
    uint8_t block[2][KVI_META_SIZE];
    bool ours;     /* a meta of kv's began where one may be, however damaged */
    int64_t error; /* of a read that failed: -errno; 0: none */
} kvi_slots;

/* The slot with the newest commit, whole or not; 0 when neither is valid. */
static inline unsigned kvi_slots_newest(const kvi_slots *slots)
{
    return slots->valid[1] && (!slots->valid[0] || slots->meta[1].id > slots->meta[0].id);
}

/* Do both hold the same commit, which is then known durable? */
static inline bool kvi_slots_agree(const kvi_slots *slots)
{
    return slots->valid[0] && slots->valid[1] && slots->meta[0].id == slots->meta[1].id;
}

/* Reads both. One that cannot be read counts as torn. KV_ENOTKV, KV_EVERSION, KV_ECORRUPT (kv's,
 * but neither is whole), KV_EIO (neither is whole, and a read failed). */
int kvi_recover_slots(const kvi_os *os, kvi_err *err, int fd, kvi_slots *slots) KVI_MUST_CHECK;

/* The same, but one that cannot be read is KV_EIO: it may hold the newest commit. */
int kvi_recover_both(const kvi_os *os, kvi_err *err, int fd, kvi_slots *slots) KVI_MUST_CHECK;

/* The newest whole commit. */
typedef struct kvi_choice {
    unsigned slot;  /* that holds it */
    bool known;     /* known durable as it is */
    bool confirmed; /* both slots hold it */
    bool rejected;  /* a newer one was not whole */
    bool buried;    /* that one may be whole, but is too large to prove on another boot: it must be
                       overwritten before anything is published */
    kvi_id newest;  /* greatest id in a valid slot */
} kvi_choice;

/* What the walk over the newest commit read, up to the size that every durable commit stays below,
 * so that adopting it need not read the file again. Zero it; kvi_recover_forget gives it back. */
typedef struct kvi_kept {
    uint8_t *bytes;
    size_t used, cap; /* bytes */
    struct kvi_kept_piece {
        uint64_t offset; /* in the file */
        size_t at, len;  /* in bytes */
    } * pieces;
    size_t n, pieces_cap;
} kvi_kept;

void kvi_recover_forget(const kvi_os *os, kvi_kept *kept);

/* Chooses. Walks the newest commit when it is not known durable; writes nothing. KV_ECORRUPT: no
 * commit is whole that may be used (R8). KV_EIO decides nothing. */
int kvi_recover_choose(kvi_file *file, const kvi_slots *slots, const uint8_t boot_id[16],
                       kvi_choice *choice, kvi_kept *kept) KVI_MUST_CHECK;

/* Makes the chosen commit durable where it stands (R4). When a flush fails, db is poisoned and the
 * result is KV_OK: the commit may still be read. */
int kvi_recover_adopt(kv_db *db, const kvi_slots *slots, const kvi_choice *choice,
                      const kvi_kept *kept) KVI_MUST_CHECK;

/* Sets db->head from the choice. */
void kvi_recover_head(kv_db *db, const kvi_slots *slots, const kvi_choice *choice);

/* Commits the newest commit again under an id of its own, over a rejected one that a later open
 * might believe (choice.buried). Before anything is published. */
int kvi_recover_bury(kv_db *db) KVI_MUST_CHECK;

/* The newest commit that the slots prove durable; 0: none. The choice itself, if it is known. */
kvi_id kvi_recover_durable(const kvi_slots *slots, const kvi_choice *choice);

/* Marks db->head, set from the choice, as seen but not proven. */
void kvi_recover_doubt(kv_db *db, const kvi_slots *slots, const kvi_choice *choice);

/* Writes the pages of a commit that is not yet durable again, as they are (R4). */
int kvi_recover_rewrite(kvi_file *file, const kvi_meta *meta) KVI_MUST_CHECK;

#endif
