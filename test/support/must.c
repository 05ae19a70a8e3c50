/* must.c - see must.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "db.h"
#include "must.h"

kv_db *must_open(sim_disk *disk, const char *path)
{
    kv_db *db;
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = 4096};
    assert_int_equal(kvi_db_open(sim_os(disk), path, &options, &db, NULL, 0), KV_OK);
    return db;
}

kv_txn *must_begin(kv_db *db, uint32_t flags)
{
    kv_txn *txn;
    assert_int_equal(kv_txn_begin(db, flags, &txn), KV_OK);
    return txn;
}

kv_tree *must_tree(kv_txn *txn, const char *name)
{
    kv_tree *tree = kv_txn_main(txn);
    if (*name)
        assert_int_equal(kv_tree_open(txn, name, strlen(name), KV_TREE_CREATE, NULL, &tree), KV_OK);
    return tree;
}

void must_put(kv_db *db, const char *tree, const char *key, const void *value, size_t len)
{
    kv_txn *txn = must_begin(db, KV_TXN_WRITE);
    assert_int_equal(kv_put(must_tree(txn, tree), key, strlen(key), value, len, 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
}

kv_db_info must_stat(kv_db *db)
{
    kv_db_info info = {.size = sizeof info};
    assert_int_equal(kv_db_stat(db, &info), KV_OK);
    return info;
}

static int print_problem(void *context, const kv_check_problem *problem)
{
    (void)context;
    print_error("page %llu: %s %s | %s\n", (unsigned long long)problem->page, problem->invariant,
                problem->message, problem->path);
    return 0;
}

void must_be_sound(kv_db *db)
{
    const kv_check_options options = {.size = sizeof options, .problem = print_problem};
    assert_int_equal(kv_db_check(db, &options), KV_OK);
}
