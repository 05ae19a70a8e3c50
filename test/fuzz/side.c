/* side.c - target `side`: the side file changes under two open handles as the input says. Answers may
 * be wrong, memory may not, and every call returns.
 *
 *   then       steps: a byte for the step, its arguments
 */
#include "db.h"
#include "exam.h"
#include "side.h"
#include <errno.h>
#include <stdio.h>

#define STEPS     64
#define ENTRIES   300 /* of a scan */
#define HANDLES   2
#define READERS   3
#define SIDE_NAME IMAGE_NAME "-lock"

typedef struct bench {
    sim_disk *disk;
    fuzz_in *in;
    kv_db *db[HANDLES];
    kv_txn *reader[READERS];
    unsigned reader_db[READERS];
    kv_txn *writer;
    unsigned writer_db;
} bench;

/* ---- the side file ---- */

static uint64_t side_size(const bench *b, uint8_t **bytes)
{
    int file = sim_find(b->disk, SIDE_NAME);
    if (file < 0)
        return 0;
    *bytes = b->disk->files[file].bytes;
    return b->disk->files[file].size;
}

static void side_put(bench *b, uint64_t at, unsigned width, uint64_t number)
{
    uint8_t *bytes;
    uint64_t size = side_size(b, &bytes);
    if (size >= width && at <= size - width)
        memcpy(bytes + at, &number, width);
}

static void step_word(bench *b)
{
    uint64_t at = fuzz_take(b->in, 1) * 8;
    side_put(b, at % sizeof(kvi_side_head), 8, fuzz_awkward(b->in));
}

static void step_half(bench *b)
{
    uint64_t at = fuzz_take(b->in, 1) * 4;
    side_put(b, at % sizeof(kvi_side_head), 4, fuzz_awkward(b->in));
}

static void step_slot(bench *b)
{
    uint64_t slot = fuzz_take(b->in, 1) % KVI_SLOTS_FIRST, word = fuzz_take(b->in, 1) % 8;
    side_put(b, KVI_SIDE_HEAD + slot * sizeof(kvi_slot) + word * 8, 8, fuzz_awkward(b->in));
}

/* Through the handle's map: the file that it maps may have lost its name. */
static void slots_clear(kv_db *db)
{
    memset((void *)db->readers.slots, 0, KVI_SLOTS_FIRST * sizeof(kvi_slot));
}

/* A field of the snapshot that is published, or of what its writer hands over. */
static void step_record(bench *b)
{
    uint8_t *bytes;
    uint64_t word = fuzz_take(b->in, 1) % KVI_RECORD_WORDS, number = fuzz_awkward(b->in);
    if (side_size(b, &bytes) == 0)
        return;
    for (unsigned record = 0; record < 2; record++)
        side_put(b, offsetof(kvi_side_head, board.record) + record * sizeof(kvi_record) + word * 8,
                 8, number);
}

/* Other fields may be of use only when the counter goes on. */
static void step_counter(bench *b)
{
    uint8_t *bytes;
    uint64_t counter;
    if (side_size(b, &bytes) == 0)
        return;
    memcpy(&counter, bytes + offsetof(kvi_side_head, board.counter), sizeof counter);
    side_put(b, offsetof(kvi_side_head, board.counter), 8, counter + fuzz_take(b->in, 1));
    side_put(b, offsetof(kvi_side_head, board.publications), 8, fuzz_take(b->in, 1));
}

static void step_truncate(bench *b)
{
    uint64_t size = fuzz_awkward(b->in);
    int fd = b->disk->os.open(&b->disk->os, SIDE_NAME, KVI_OS_WRITE, 0);
    if (fd < 0)
        return;
    /* shorter is outside of what can be promised: a map cannot be touched behind its file */
    uint8_t *bytes;
    if (size > side_size(b, &bytes) && size < (1 << 20))
        b->disk->os.truncate(&b->disk->os, fd, size);
    b->disk->os.close(&b->disk->os, fd);
}

static void step_unlink(bench *b)
{
    if (fuzz_take(b->in, 1) % 8 == 0)
        b->disk->os.unlink(&b->disk->os, SIDE_NAME);
}

/* ---- using the database ---- */

static uint64_t touched;

static void use_tree(kv_tree *tree)
{
    kv_cursor *cursor;
    kv_slice key, value;
    uint64_t count;
    (void)kv_count(tree, NULL, &count);
    if (kv_cursor_open(tree, NULL, &cursor) != KV_OK)
        return;
    for (unsigned n = 0; n < ENTRIES && kv_cursor_next(cursor) == KV_OK; n++)
        if (kv_cursor_get(cursor, &key, &value) == KV_OK && value.len > 0)
            touched += ((const uint8_t *)value.ptr)[value.len - 1];
    if (kv_cursor_last(cursor) == KV_OK)
        (void)kv_cursor_get(cursor, &key, &value);
    kv_cursor_close(cursor);
}

static void use_txn(kv_txn *txn)
{
    kv_tree *small;
    kv_slice value;
    (void)kv_get(kv_txn_main(txn), "k00010", 6, &value);
    use_tree(kv_txn_main(txn));
    if (kv_tree_open(txn, "small", 5, 0, NULL, &small) == KV_OK)
        use_tree(small);
}

static void step_read(bench *b)
{
    unsigned i = (unsigned)fuzz_below(b->in, READERS), d = (unsigned)fuzz_below(b->in, HANDLES);
    if (b->reader[i]) {
        use_txn(b->reader[i]);
        kv_txn_abort(b->reader[i]);
        b->reader[i] = NULL;
    } else if (b->db[d]) {
        (void)kv_txn_begin(b->db[d], 0, &b->reader[i]);
        b->reader_db[i] = d;
    }
}

static void step_refresh(bench *b)
{
    unsigned i = (unsigned)fuzz_below(b->in, READERS);
    if (b->reader[i] && kv_txn_refresh(b->reader[i]) == KV_OK)
        use_txn(b->reader[i]);
}

static void use_writer(bench *b)
{
    static const uint8_t value[9000];
    char key[16];
    use_txn(b->writer);
    for (unsigned i = 0; i < 8; i++) {
        snprintf(key, sizeof key, "k%05u", (unsigned)fuzz_take(b->in, 1));
        (void)kv_put(kv_txn_main(b->writer), key, 6, value, i == 7 ? sizeof value : i * 20, 0);
    }
    (void)kv_del(kv_txn_main(b->writer), "k00011", 6);
}

static void step_write(bench *b)
{
    if (!b->writer) {
        b->writer_db = (unsigned)fuzz_below(b->in, HANDLES);
        if (b->db[b->writer_db])
            (void)kv_txn_begin(b->db[b->writer_db], KV_TXN_WRITE | KV_TXN_TRY, &b->writer);
        if (b->writer)
            use_writer(b);
        return;
    }
    if (fuzz_take(b->in, 1) % 4 == 0)
        kv_txn_abort(b->writer);
    else
        (void)kv_txn_commit(b->writer);
    b->writer = NULL;
}

static int one_reader(void *context, const kv_reader_info *reader)
{
    *(uint64_t *)context += reader->held_pages;
    return 0;
}

static void step_ask(bench *b)
{
    kv_db *db = b->db[fuzz_below(b->in, HANDLES)];
    kv_db_info info = {.size = sizeof info};
    const kv_op put = {.kind = KV_OP_PUT, .key = {"batch", 5}, .value = {"v", 1}};
    uint64_t held = 0;
    if (!db)
        return;
    (void)kv_db_stat(db, &info);
    (void)kv_db_readers(db, one_reader, &held);
    (void)kv_db_durable_id(db);
    if (b->writer)
        return;
    if (fuzz_take(b->in, 1) & 1)
        (void)kv_db_write(db, &put, 1, 0, NULL);
    if (fuzz_take(b->in, 1) & 1)
        (void)kv_db_check(db, NULL);
    (void)kv_db_sync(db);
}

static void bench_open(bench *b, unsigned d)
{
    kv_options options = {.size = sizeof options};
    (void)kvi_db_open(sim_os(b->disk), IMAGE_NAME, &options, &b->db[d], NULL, 0);
}

static void bench_close(bench *b, unsigned d)
{
    for (unsigned i = 0; i < READERS; i++)
        if (b->reader[i] && b->reader_db[i] == d) {
            kv_txn_abort(b->reader[i]);
            b->reader[i] = NULL;
        }
    kv_txn_abort(b->writer); /* closing waits for the turn */
    b->writer = NULL;
    if (kv_db_close(b->db[d]) == KV_EBUSY) { /* a forged slot is the handle's own */
        slots_clear(b->db[d]);
        FUZZ_MUST(kv_db_close(b->db[d]) != KV_EBUSY);
    }
    b->db[d] = NULL;
}

static void step_handle(bench *b)
{
    unsigned d = (unsigned)fuzz_below(b->in, HANDLES);
    if (b->db[d])
        bench_close(b, d);
    else
        bench_open(b, d);
}

/* Whoever forges pins can have the file cut beneath a reader, as he can cut it himself: what that does
 * to a map cannot be helped. So here the disk does not cut the database. */
static struct {
    sim_disk *disk;
    kvi_os inner;
} uncut;

static int uncut_truncate(const kvi_os *os, int fd, uint64_t size)
{
    int file = uncut.disk->handles[fd].file;
    bool cut = file == sim_find(uncut.disk, IMAGE_NAME) && size < uncut.disk->files[file].size;
    return cut ? -EPERM : uncut.inner.truncate(os, fd, size);
}

static sim_disk *uncut_disk(void)
{
    uncut.disk = exam_disk();
    uncut.inner = uncut.disk->os;
    uncut.disk->os.truncate = uncut_truncate;
    return uncut.disk;
}

int fuzz_side(const uint8_t *data, size_t len)
{
    static void (*const steps[])(bench *) = {
        step_read, step_write, step_ask,   step_record, step_refresh,  step_word,   step_slot,
        step_half, step_read,  step_write, step_handle, step_truncate, step_unlink, step_counter,
    };
    sim_disk *disk = uncut.disk ? uncut.disk : uncut_disk();
    fuzz_in in = {data, data + len};
    bench b = {.in = &in};
    kvi_slice image = image_of(IMAGE_SMALL);
    sim_reset(disk);
    sim_put_file(disk, IMAGE_NAME, image.ptr, image.len);
    b.disk = disk;
    bench_open(&b, 0);
    bench_open(&b, 1);
    FUZZ_MUST(b.db[0] && b.db[1]);
    for (unsigned i = 0; i < STEPS && fuzz_more(&in); i++)
        steps[fuzz_below(&in, KVI_COUNT(steps))](&b);
    for (unsigned d = HANDLES; d-- > 0;)
        if (b.db[d])
            bench_close(&b, d);
    FUZZ_MUST(sim_open_handles(disk) == 0);
    return 0;
}
