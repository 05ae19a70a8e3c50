/* Salvage as a call: its arguments, callbacks that stop it, others who have the file open, files in which
 * there is nothing to be saved. Whatever comes of it, nothing half made is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "patient.h"
#include "salvage.h"
#include <dirent.h>
#include <errno.h>
#include <unistd.h>

static patient small, tall;

static int make_all(void **state)
{
    patient_folder_make();
    patient_make(&small, 4096, patient_small);
    patient_make(&tall, 4096, patient_tall);
    return 0;
}

static int free_all(void **state)
{
    patient_free(&small);
    patient_free(&tall);
    patient_folder_remove();
    return 0;
}

static int syncs_left;

static int sync_fails(const kvi_os *os, int fd)
{
    return syncs_left-- > 0 ? 0 : -EIO;
}

/* A new file that cannot be flushed is no database that others should leave alone: it is gone. */
static void test_cannot_be_flushed(void **state)
{
    kvi_os os = kvi_os_posix;
    kv_salvage_info info = {.size = sizeof info};
    const kv_salvage_options options = {.size = sizeof options};
    int rc = KV_EIO;
    os.sync = sync_fails;
    unlink(saved_path);
    surgeon_save(&small.file, patient_path);
    for (int n = 0; rc == KV_EIO; n++) {
        syncs_left = n;
        rc = kvi_salvage(&os, patient_path, saved_path, &options, &info);
        assert_int_equal(access(saved_path, F_OK) == 0, rc == KV_OK);
    }
    assert_int_equal(rc, KV_OK);
}

/* Nothing is there, or nothing but the name of a tree, or nothing any more: that is not a failure. */
static void test_empty(void **state)
{
    for (int named = 0; named < 3; named++) {
        surgeon s;
        kv_salvage_info info;
        kv_db *db;
        kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE};
        unlink(patient_path);
        assert_int_equal(kv_db_open(patient_path, &options, &db), KV_OK);
        if (named == 1) {
            kv_txn *txn = patient_begin(db);
            (void)patient_create(txn, "alone", 0);
            assert_int_equal(kv_txn_commit(txn), KV_OK);
        }
        for (int there = 1; named == 2 && there >= 0; there--) {
            kv_txn *txn = patient_begin(db);
            if (there)
                patient_put(kv_txn_main(txn), "key%u", 1, "", 0);
            else
                assert_int_equal(kv_del(kv_txn_main(txn), "key1", 4), KV_OK);
            assert_int_equal(kv_txn_commit(txn), KV_OK);
        }
        assert_int_equal(kv_db_close(db), KV_OK);
        surgeon_load(&s, patient_path);
        assert_int_equal(patient_salvage(&s, &info), KV_OK);
        surgeon_free(&s);
        assert_int_equal(info.trees, named == 1);
        assert_int_equal(info.entries, 0);
        assert_int_equal(info.losses, 0);
    }
}

static unsigned files_there(void)
{
    unsigned n = 0;
    DIR *d = opendir(patient_dir.dir);
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void test_nothing_readable(void **state)
{
    surgeon s;
    kv_salvage_info info;
    surgeon_take(&s, small.file.bytes, small.file.size);
    memset(s.bytes, 'x', s.size);
    assert_int_equal(patient_salvage(&s, &info), KV_ENOTKV);
    surgeon_free(&s);
    assert_true(strlen(said.notes) > 10);
    surgeon_take(&s, small.file.bytes, small.file.size);
    memset(s.bytes + 2 * s.page_size, 0, s.size - 2 * s.page_size);
    assert_int_equal(patient_salvage(&s, &info), KV_NOTFOUND);
    surgeon_free(&s);
    assert_int_not_equal(access(saved_path, F_OK), 0);
    assert_int_equal(files_there(), 1);
}

/* The main tree has no entries, and the only named one is gone with the catalog; or pages still have
 * headers, and nothing else. */
static void test_no_entry_readable(void **state)
{
    kv_db *db;
    surgeon s;
    kv_salvage_info info;
    unlink(patient_path);
    assert_int_equal(kv_db_open(patient_path, NULL, &db), KV_OK);
    kv_txn *txn = patient_begin(db);
    patient_put(patient_create(txn, "alone", 0), "key%u", 1, "value", 5);
    patient_put(kv_txn_main(txn), "key%u", 1, "value", 5);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    txn = patient_begin(db);
    assert_int_equal(kv_del(kv_txn_main(txn), "key1", 4), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    surgeon_load(&s, patient_path);
    memset(s.bytes + 2 * s.page_size, 0, s.size - 2 * s.page_size);
    assert_int_equal(patient_salvage(&s, &info), KV_NOTFOUND);
    surgeon_free(&s);
    surgeon_take(&s, small.file.bytes, small.file.size);
    memset(s.bytes, 0, 2 * (size_t)s.page_size);
    for (kvi_pgno page = 2; page < s.size / s.page_size; page++)
        memset(surgeon_page(&s, page) + KVI_HEADER_SIZE, 0xff, s.page_size - KVI_HEADER_SIZE);
    assert_int_equal(patient_salvage(&s, &info), KV_NOTFOUND);
    surgeon_free(&s);
    assert_int_equal(files_there(), 1);
}

static void test_file_is_left_alone(void **state)
{
    surgeon s, after;
    kv_salvage_info info;
    surgeon_take(&s, small.file.bytes, small.file.size);
    patient_damage(&s, s.meta.main.root.page, HARM_HEADER);
    assert_int_equal(patient_salvage(&s, &info), KV_OK);
    assert_int_equal(files_there(), 2);
    surgeon_load(&after, patient_path);
    assert_int_equal(after.size, s.size);
    assert_memory_equal(after.bytes, s.bytes, s.size);
    surgeon_free(&after);
    surgeon_free(&s);
    assert_int_equal(kv_db_salvage(patient_path, saved_path, NULL, NULL), KV_EXISTS);
    unlink(saved_path);
    assert_int_equal(kv_db_salvage(patient_path, saved_path, NULL, NULL), KV_OK);
}

static int stop_at_once(void *context, const kv_salvage_loss *loss)
{
    return 1;
}

static int stop_progress(void *context, const kv_progress *progress)
{
    return 1;
}

static void test_callbacks_stop_it(void **state)
{
    surgeon s;
    kv_salvage_options options = {.size = sizeof options, .loss = stop_at_once};
    surgeon_take(&s, small.file.bytes, small.file.size);
    patient_damage(&s, s.meta.main.root.page, HARM_HEADER);
    surgeon_save(&s, patient_path);
    surgeon_free(&s);
    unlink(saved_path);
    assert_int_equal(kv_db_salvage(patient_path, saved_path, &options, NULL), KV_ECANCELED);
    options.loss = NULL;
    options.progress = stop_progress;
    assert_int_equal(kv_db_salvage(patient_path, saved_path, &options, NULL), KV_ECANCELED);
    surgeon_save(&tall.file, patient_path); /* long before the end */
    assert_int_equal(kv_db_salvage(patient_path, saved_path, &options, NULL), KV_ECANCELED);
    assert_int_equal(files_there(), 1);
}

static unsigned calls_left; /* of a callback, before it stops the salvage */

static int stop_loss_later(void *context, const kv_salvage_loss *loss)
{
    return calls_left-- == 0;
}

static int stop_progress_later(void *context, const kv_progress *progress)
{
    return calls_left-- == 0;
}

/* Whichever call of a callback it is: nothing half made is left. */
static void test_callbacks_stop_it_anywhere(void **state)
{
    const surgeon *sound = &tall.file;
    surgeon s;
    kvi_pgno leaf;
    kvi_tree_desc desc;
    surgeon_catalog(sound, 0, &leaf, &desc);
    surgeon_take(&s, sound->bytes, sound->size);
    patient_damage(&s, sound->meta.main.root.page, HARM_WIPED);
    patient_damage(&s, surgeon_node(sound, &sound->meta.main, 0, 0).page, HARM_WIPED);
    patient_damage(&s, surgeon_node(sound, &desc, 0, 1).page, HARM_WIPED);
    surgeon_save(&s, patient_path);
    surgeon_free(&s);
    for (int progress = 0; progress < 2; progress++) {
        kv_salvage_options options = {.size = sizeof options};
        int rc = KV_ECANCELED;
        unsigned stops = 0;
        if (progress)
            options.progress = stop_progress_later;
        else
            options.loss = stop_loss_later;
        unlink(saved_path);
        for (; rc == KV_ECANCELED; stops++) {
            calls_left = stops;
            rc = kv_db_salvage(patient_path, saved_path, &options, NULL);
            assert_int_equal(files_there(), rc == KV_OK ? 2 : 1);
        }
        assert_int_equal(rc, KV_OK);
        assert_true(stops > 4);
    }
}

/* The last losses to be told are those of found trees of old versions: they stop it, too. */
static void test_callbacks_stop_it_late(void **state)
{
    surgeon s;
    kvi_tree_desc packed;
    kvi_pgno leaf;
    kvi_entry entry;
    uint8_t *stored;
    int rc = KV_ECANCELED;
    kv_salvage_options options = {.size = sizeof options, .loss = stop_loss_later};
    surgeon_take(&s, small.file.bytes, small.file.size);
    surgeon_catalog(&s, 0, &leaf, &packed);
    assert_true(surgeon_find(&s, &packed, KVI_ENTRY_COMPRESSED, &leaf, &stored, &entry));
    patient_lose_space(&s);
    patient_damage(&s, s.meta.catalog.root.page, HARM_WIPED);
    memset(stored + 10, 0xff, 20);
    surgeon_stamp(&s, leaf);
    surgeon_save(&s, patient_path);
    surgeon_free(&s);
    unlink(saved_path);
    for (unsigned stops = 0; rc == KV_ECANCELED; stops++) {
        calls_left = stops;
        rc = kv_db_salvage(patient_path, saved_path, &options, NULL);
        assert_int_equal(files_there(), rc == KV_OK ? 2 : 1);
        assert_true(rc != KV_OK || stops > 1);
    }
    assert_int_equal(rc, KV_OK);
}

static void test_arguments(void **state)
{
    kv_salvage_options options = {0};
    kv_salvage_info info = {0};
    assert_int_equal(kv_db_salvage(NULL, saved_path, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_salvage(patient_path, NULL, NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_salvage(patient_path, "", NULL, NULL), KV_EINVAL);
    assert_int_equal(kv_db_salvage(patient_path, saved_path, &options, NULL), KV_EINVAL);
    assert_int_equal(kv_db_salvage(patient_path, saved_path, NULL, &info), KV_EINVAL);
    assert_int_equal(kv_db_salvage("/nowhere/at/all", saved_path, NULL, NULL), KV_ENOENT);
    assert_int_equal(kv_db_salvage(patient_dir.dir, saved_path, NULL, NULL), KV_EINVAL);
}

/* A writer makes it wait, a sole owner keeps it out; while it runs nobody writes. */
static void test_others(void **state)
{
    kv_db *db;
    kv_options sole = {.size = sizeof sole, .flags = KV_OPEN_EXCLUSIVE};
    surgeon_save(&small.file, patient_path);
    unlink(saved_path);
    assert_int_equal(kv_db_open(patient_path, NULL, &db), KV_OK);
    kv_txn *txn = patient_begin(db);
    assert_int_equal(kv_db_salvage(patient_path, saved_path, NULL, NULL), KV_EBUSY);
    kv_txn_abort(txn);
    assert_int_equal(kv_db_salvage(patient_path, saved_path, NULL, NULL), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
    unlink(saved_path);
    assert_int_equal(kv_db_open(patient_path, &sole, &db), KV_OK);
    assert_int_equal(kv_db_salvage(patient_path, saved_path, NULL, NULL), KV_EBUSY);
    assert_int_equal(kv_db_close(db), KV_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cannot_be_flushed),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_nothing_readable),
        cmocka_unit_test(test_no_entry_readable),
        cmocka_unit_test(test_file_is_left_alone),
        cmocka_unit_test(test_callbacks_stop_it),
        cmocka_unit_test(test_callbacks_stop_it_anywhere),
        cmocka_unit_test(test_callbacks_stop_it_late),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
