/* store.c - opening, and records in the database compared with the source. */
#include "demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

kv_db *demo_open(const char *path)
{
    kv_db *db;
    char message[256];
    if (kv_db_open_explain(path, NULL, &db, message, sizeof message) != KV_OK)
        demo_die("open %s: %s", path, message);
    return db;
}

void demo_check(kv_db *db, int rc, const char *what)
{
    char message[256] = "";
    if (rc == KV_OK)
        return;
    kv_db_errmsg(db, message, sizeof message);
    demo_die("%s: %s %s", what, kv_strerror(rc), message);
}

void demo_close(kv_db *db)
{
    int rc = kv_db_close(db);
    if (rc != KV_OK)
        demo_die("close: %s", kv_strerror(rc));
}

void demo_begin(kv_db *db, uint32_t flags, struct view *view)
{
    demo_check(db, kv_txn_begin(db, flags, &view->txn), "begin");
    view->packages = kv_txn_main(view->txn);
    demo_check(db, kv_tree_open(view->txn, "unicode", 7, 0, NULL, &view->unicode), "open unicode");
}

void demo_commit(kv_db *db, struct view *view)
{
    demo_check(db, kv_txn_commit(view->txn), "commit");
}

static kv_tree *tree_of(struct view *view, const struct data *data, size_t index)
{
    return index < data->packages.n ? view->packages : view->unicode;
}

/* What stands in front of a value. Its length changes with the generation. */
static size_t mark(uint64_t generation, char text[32])
{
    if (generation == 0)
        return 0;
    return (size_t)snprintf(text, 32, "%.*s%llu ", (int)(generation % 7), "++++++",
                            (unsigned long long)generation);
}

void demo_put(kv_db *db, struct view *view, const struct data *data, size_t index,
              uint64_t generation)
{
    const struct record *record = demo_record(data, index);
    char text[32];
    size_t len = mark(generation, text);
    char *value = malloc(len + record->value_len + 1);
    if (!value)
        demo_die("out of memory");
    memcpy(value, text, len);
    memcpy(value + len, record->value, record->value_len);
    int rc = kv_put(tree_of(view, data, index), record->key, record->key_len, value,
                    len + record->value_len, 0);
    demo_check(db, rc, "put");
    free(value);
}

static bool value_is(kv_slice value, const struct record *record, uint64_t generation)
{
    char text[32];
    size_t len = mark(generation, text);
    return value.len == len + record->value_len && memcmp(value.ptr, text, len) == 0 &&
           memcmp((const char *)value.ptr + len, record->value, record->value_len) == 0;
}

bool demo_is(struct view *view, const struct data *data, size_t index, uint64_t generation)
{
    const struct record *record = demo_record(data, index);
    kv_slice value;
    int rc = kv_get(tree_of(view, data, index), record->key, record->key_len, &value);
    return rc == KV_OK && value_is(value, record, generation);
}

static bool key_is(kv_slice key, const struct record *record)
{
    return key.len == record->key_len && memcmp(key.ptr, record->key, key.len) == 0;
}

static uint64_t tree_differences(kv_db *db, kv_tree *tree, const struct source *source,
                                 uint64_t generation)
{
    kv_cursor *cursor;
    kv_slice key, value;
    uint64_t wrong = 0;
    size_t i = 0;
    int rc;
    demo_check(db, kv_cursor_open(tree, NULL, &cursor), "open a cursor");
    for (; (rc = kv_cursor_next(cursor)) == KV_OK; i++) {
        demo_check(db, kv_cursor_get(cursor, &key, &value), "read");
        if (i >= source->n || !key_is(key, &source->records[i]) ||
            !value_is(value, &source->records[i], generation))
            wrong++;
    }
    if (rc != KV_NOTFOUND)
        demo_check(db, rc, "read");
    kv_cursor_close(cursor);
    return wrong + (i < source->n ? source->n - i : 0);
}

uint64_t demo_differences(kv_db *db, struct view *view, const struct data *data,
                          uint64_t generation)
{
    return tree_differences(db, view->packages, &data->packages, generation) +
           tree_differences(db, view->unicode, &data->unicode, generation);
}
