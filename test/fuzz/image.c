/* image.c - see image.h. */
#include "image.h"
#include "db.h"
#include "fuzz.h"
#include "meta.h"
#include <stdio.h>
#include <stdlib.h>

#define FOLDS 600 /* commits after which the space records must have outgrown the meta */

static uint8_t filler[24000]; /* the first half random, the rest zeros */

static void must(int rc)
{
    if (rc != KV_OK)
        fuzz_fail("image: %s", kv_strerror(rc));
}

static kv_db *image_open(sim_disk *disk)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
    options.page_size = KVI_PAGE_MIN;
    kv_db *db;
    must(kvi_db_open(sim_os(disk), IMAGE_NAME, &options, &db, NULL, 0));
    return db;
}

static kv_txn *image_begin(kv_db *db, uint32_t flags)
{
    kv_txn *txn;
    must(kv_txn_begin(db, flags, &txn));
    return txn;
}

/* Entries number from to upto; keys of key_len bytes, values of up to value_max. */
static void image_fill(kv_tree *tree, unsigned from, unsigned upto, size_t key_len,
                       size_t value_max)
{
    char key[KVI_PAGE_MAX / 4];
    memset(key, 'k', sizeof key);
    for (unsigned i = from; i < upto; i++) {
        snprintf(key + key_len - 5, 6, "%05u", i % 100000);
        must(kv_put(tree, key, key_len, filler + i, i * 37 % (value_max + 1), 0));
    }
}

static void make_small(kv_db *db)
{
    kv_txn *txn = image_begin(db, KV_TXN_WRITE);
    kv_tree *packed, *small;
    kv_tree_options options = {sizeof options, 100};
    image_fill(kv_txn_main(txn), 0, 60, 6, 150);
    must(kv_put(kv_txn_main(txn), "large", 5, filler, 2 * KVI_PAGE_MIN + 100, 0));
    must(kv_tree_open(txn, "packed", 6, KV_TREE_CREATE, &options, &packed));
    must(kv_put(packed, "inline", 6, filler + 12000 - 20, KVI_PAGE_MIN / 2, 0));
    must(kv_put(packed, "large", 5, filler + 12000 - KVI_PAGE_MIN, 12000, 0));
    must(kv_tree_open(txn, "small", 5, KV_TREE_CREATE, NULL, &small));
    image_fill(small, 0, 40, 6, 3);
    must(kv_txn_commit(txn));
}

static void make_deep(kv_db *db)
{
    kv_txn *txn = image_begin(db, KV_TXN_WRITE);
    image_fill(kv_txn_main(txn), 0, 80, kvi_key_max(KVI_PAGE_MIN) - 8, 20);
    must(kv_txn_commit(txn));
}

/* Commits beside a reader, so that dead pages are blocked, until the log is long. */
static void make_space(kv_db *db)
{
    make_small(db);
    kv_txn *reader = image_begin(db, KV_TXN_READ);
    for (unsigned i = 0; i < FOLDS; i++) {
        kv_txn *txn = image_begin(db, KV_TXN_WRITE | KV_TXN_LAZY);
        image_fill(kv_txn_main(txn), i * 7 % 60, i * 7 % 60 + 1, 6, 150);
        must(kv_txn_commit(txn));
    }
    kv_txn_abort(reader);
}

static void make_sealed(kv_db *db)
{
    kv_tree *small;
    make_small(db);
    kv_txn *txn = image_begin(db, KV_TXN_WRITE);
    must(kv_tree_open(txn, "small", 5, 0, NULL, &small));
    image_fill(small, 10, 12, 6, 3);
    image_fill(kv_txn_main(txn), 30, 32, 6, 100);
    must(kv_put(kv_txn_main(txn), "other", 5, filler + 9, 2 * KVI_PAGE_MIN + 100, 0));
    must(kv_txn_commit(txn));
}

static kvi_slice image_make(enum image_kind kind)
{
    static void (*const makers[])(kv_db *) = {NULL, make_small, make_deep, make_space, make_sealed};
    rng random;
    sim_disk *disk = sim_new(kind);
    disk->recording = SIM_RECORD_NOTHING;
    rng_seed(&random, 1);
    rng_fill(&random, filler, sizeof filler / 2);
    kv_db *db = image_open(disk);
    if (makers[kind])
        makers[kind](db);
    if (kind != IMAGE_SEALED)
        must(kv_db_close(db));
    kvi_slice file = sim_get_file(disk, IMAGE_NAME);
    uint8_t *copy = malloc(file.len);
    if (!copy)
        fuzz_fail("image: no memory");
    memcpy(copy, file.ptr, file.len);
    if (kind == IMAGE_SEALED)
        must(kv_db_close(db));
    size_t len = file.len;
    sim_free(disk);
    return kvi_slice_of(copy, len);
}

kvi_slice image_of(enum image_kind kind)
{
    static kvi_slice images[IMAGE_KINDS];
    if (!images[kind].ptr)
        images[kind] = image_make(kind);
    return images[kind];
}
