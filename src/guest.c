/* guest.c - see guest.h. */
#include "guest.h"
#include "join.h"
#include "mutant.h"

#define PIN_TRIES 10000 /* commits that may overtake one begin */
#define TORN_US   100   /* for the writer to complete a meta that was read half written */
#define TORN_MAX  20    /* tries, before a torn meta is believed to stay so */

void kvi_guest_init(kvi_guest *guest)
{
    pthread_mutex_init(&guest->mutex, NULL);
}

void kvi_guest_close(kv_db *db)
{
    db->os->free(db->os, db->guest.pins);
    pthread_mutex_destroy(&db->guest.mutex);
}

/* ---- locks ---- counted, since all transactions of the handle share the open file */

static struct kvi_guest_pin *pin_find(kvi_guest *guest, kvi_id id)
{
    for (size_t i = 0; i < guest->n; i++)
        if (guest->pins[i].id == id)
            return &guest->pins[i];
    return NULL;
}

static int pin_take(kv_db *db, kvi_id id)
{
    kvi_guest *guest = &db->guest;
    struct kvi_guest_pin *pin = pin_find(guest, id);
    if (pin) {
        pin->n++;
        return KV_OK;
    }
    pin = kvi_os_room(db->os, guest->pins, &guest->cap, guest->n + 1, sizeof *pin);
    if (!pin)
        return KV_ENOMEM;
    guest->pins = pin;
    int rc = kvi_lock_try(&db->lock, &db->err, KVI_OS_SHARED, KVI_LOCK_PINS + id);
    if (rc == KV_OK)
        guest->pins[guest->n++] = (struct kvi_guest_pin){id, 1};
    return rc;
}

static void pin_give(kv_db *db, kvi_id id)
{
    kvi_guest *guest = &db->guest;
    struct kvi_guest_pin *pin = pin_find(guest, id);
    if (!pin || --pin->n > 0)
        return;
    kvi_lock_drop(&db->lock, KVI_LOCK_PINS + id);
    *pin = guest->pins[--guest->n];
}

/* ---- choosing ---- */

/* Reads the metas; one that is half written gets time to become whole. */
static int slots_read(kv_db *db, kvi_slots *slots)
{
    for (int torn = 0;; torn++) {
        int rc = kvi_recover_both(db->os, &db->err, db->file.fd, slots);
        if (rc != KV_OK || (slots->valid[0] && slots->valid[1]) || torn == TORN_MAX)
            return rc;
        db->os->sleep_us(db->os, TORN_US);
    }
}

/* The newest commit, before anybody has looked whether it is whole. */
static kvi_choice choice_newest(const kvi_slots *slots)
{
    return (kvi_choice){.slot = kvi_slots_newest(slots), .known = kvi_slots_agree(slots)};
}

/* Which commit to read. The walk and the flush happen once for each. */
static int slot_choose(kv_db *db, const kvi_slots *slots, kvi_choice *choice)
{
    *choice = choice_newest(slots);
    if (choice->known || slots->meta[choice->slot].id == db->guest.proven)
        return KV_OK;
    /* The walk takes pages behind the end for torn. A guest's handle has no writer. */
    uint64_t size;
    int rc = kvi_file_look(&db->file, &size);
    if (rc != KV_OK)
        return rc;
    atomic_store_explicit(&db->file.size, size, memory_order_release);
    rc = kvi_recover_choose(&db->file, slots, db->boot_id, choice, NULL);
    if (rc == KV_OK && !choice->known)
        rc = kvi_file_sync(&db->file); /* a reader may see only what will stay */
    return rc;
}

static bool slots_same(const kvi_slots *a, const kvi_slots *b)
{
    for (unsigned slot = 0; slot < 2; slot++)
        if (a->valid[slot] != b->valid[slot] ||
            (a->valid[slot] && a->meta[slot].id != b->meta[slot].id))
            return false;
    return true;
}

/* The flush of a guest is no proof: a failure to write the pages back may have been told to somebody
 * who is gone (R4). */
static kvi_snapshot choice_snapshot(const kvi_slots *slots, const kvi_choice *choice)
{
    kvi_head head = {.meta = slots->meta[choice->slot],
                     .durable = kvi_recover_durable(slots, choice)};
    return kvi_head_snapshot(&head);
}

/* Reads the metas again: are they as before? Where one is torn, the other may have been read before
 * commits that left it torn again, so both are read once more. */
static int slots_unchanged(kv_db *db, const kvi_slots *before, kvi_slots *again, bool *same)
{
    int rc = slots_read(db, again);
    *same = rc == KV_OK && slots_same(before, again);
    if (!*same || (again->valid[0] && again->valid[1]))
        return rc;
    rc = slots_read(db, again);
    *same = rc == KV_OK && slots_same(before, again);
    return rc;
}

/* Pins commit id if the metas are still as they were read: 1 when they changed. */
static int pin_if_unchanged(kv_db *db, kvi_id id, const kvi_slots *before, kvi_slots *again)
{
    bool same;
    int rc = pin_take(db, id);
    if (rc != KV_OK || KVI_MUTANT(GUEST_UNCONFIRMED))
        return rc;
    rc = slots_unchanged(db, before, again, &same);
    if (rc == KV_OK && same)
        return KV_OK;
    pin_give(db, id);
    return rc == KV_OK ? 1 : rc;
}

/* One attempt: 1 when the metas changed meanwhile. What is walked is pinned already; when the newest
 * is not whole, the one before it is pinned in its place. */
static int pin_newest(kv_db *db, kvi_slots *slots, kvi_slots *again, kvi_snapshot *snapshot)
{
    kvi_choice choice;
    int rc = slots_read(db, slots);
    if (rc != KV_OK)
        return rc;
    kvi_id id = slots->meta[kvi_slots_newest(slots)].id, chosen;
    rc = pin_if_unchanged(db, id, slots, again);
    if (rc != KV_OK)
        return rc;
    rc = slot_choose(db, slots, &choice);
    chosen = rc == KV_OK ? slots->meta[choice.slot].id : id;
    if (rc == KV_OK && chosen != id)
        rc = pin_if_unchanged(db, chosen, slots, again);
    if (rc != KV_OK || chosen != id)
        pin_give(db, id);
    if (rc != KV_OK)
        return rc;
    *snapshot = choice_snapshot(slots, &choice);
    db->guest.proven = chosen;
    return KV_OK;
}

/* A commit that the writer overtakes during the walk may look damaged; then the metas have changed. */
static bool overtaken(kv_db *db, const kvi_slots *before, kvi_slots *now)
{
    return slots_read(db, now) == KV_OK && !slots_same(before, now);
}

int kvi_guest_pin(kv_db *db, kvi_snapshot *snapshot)
{
    kvi_slots *slots = db->os->alloc(db->os, 2 * sizeof *slots);
    if (!slots)
        return KV_ENOMEM;
    int rc = 1;
    pthread_mutex_lock(&db->guest.mutex);
    for (int tries = 0; rc == 1 && tries < PIN_TRIES; tries++) {
        rc = pin_newest(db, &slots[0], &slots[1], snapshot);
        if (rc == KV_ECORRUPT && overtaken(db, &slots[0], &slots[1]))
            rc = 1;
    }
    pthread_mutex_unlock(&db->guest.mutex);
    db->os->free(db->os, slots);
    return rc == 1 ? kvi_fail(&db->err, KV_EBUSY, "the newest commit changes too fast") : rc;
}

int kvi_guest_pin_too(kv_db *db, kvi_id id)
{
    pthread_mutex_lock(&db->guest.mutex);
    int rc = pin_take(db, id);
    pthread_mutex_unlock(&db->guest.mutex);
    return rc;
}

void kvi_guest_unpin(kv_db *db, kvi_id id)
{
    if (id == 0)
        return;
    pthread_mutex_lock(&db->guest.mutex);
    pin_give(db, id);
    pthread_mutex_unlock(&db->guest.mutex);
}

/* Whether their newest commit is whole does not matter: what it says was true when it was written. */
static kvi_id metas_durable(kv_db *db)
{
    kvi_id id = 0;
    kvi_slots *slots = db->os->alloc(db->os, sizeof *slots);
    if (slots && slots_read(db, slots) == KV_OK) {
        kvi_choice newest = choice_newest(slots);
        id = kvi_recover_durable(slots, &newest);
    }
    db->os->free(db->os, slots);
    return id;
}

kvi_id kvi_guest_durable(kv_db *db)
{
    kvi_id read = metas_durable(db), told = kvi_join_durable(db);
    return KVI_MAX(read, told);
}

static int metas_newest(kv_db *db, kvi_id *id)
{
    kvi_slots *slots = db->os->alloc(db->os, sizeof *slots);
    if (!slots)
        return KV_ENOMEM;
    int rc = kvi_recover_both(db->os, &db->err, db->file.fd, slots);
    if (rc == KV_OK)
        *id = slots->meta[kvi_slots_newest(slots)].id;
    db->os->free(db->os, slots);
    return rc;
}

int kvi_guest_newer(kv_db *db, kvi_id *tried, kvi_id *newest)
{
    kvi_snapshot snapshot;
    kvi_id id;
    *newest = 0;
    int rc = metas_newest(db, &id);
    if (rc != KV_OK || id <= *tried)
        return rc;
    rc = kvi_guest_pin(db, &snapshot);
    if (rc != KV_OK)
        return rc;
    kvi_guest_unpin(db, snapshot.id);
    *tried = id;
    *newest = snapshot.id;
    return KV_OK;
}
