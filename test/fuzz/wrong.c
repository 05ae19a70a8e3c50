/* wrong.c - see wrong.h. */
#include "wrong.h"
#include "fuzz.h"

void wrong_handle(kv_db *db)
{
    kv_txn *txn;
    kv_db_info info = {.size = 1};
    FUZZ_MUST(kv_txn_begin(NULL, 0, &txn) == KV_EINVAL && !txn);
    FUZZ_MUST(kv_txn_begin(db, 0, NULL) == KV_EINVAL);
    FUZZ_MUST(kv_txn_begin(db, 1 << 20, &txn) == KV_EINVAL);
    FUZZ_MUST(kv_txn_begin(db, KV_TXN_LAZY, &txn) == KV_EINVAL);
    FUZZ_MUST(kv_txn_begin(db, KV_TXN_TRY, &txn) == KV_EINVAL);
    FUZZ_MUST(kv_txn_begin(db, KV_TXN_WRITE | KV_TXN_LAZY | KV_TXN_STRICT, &txn) == KV_EINVAL);
    FUZZ_MUST(kv_db_stat(db, &info) == KV_EINVAL);
    FUZZ_MUST(kv_db_stat(db, NULL) == KV_EINVAL);
    FUZZ_MUST(kv_db_copy(db, "x", 99) == KV_EINVAL);
    FUZZ_MUST(kv_db_write(db, NULL, 1, 0, NULL) == KV_EINVAL);
    FUZZ_MUST(kv_txn_commit(NULL) == KV_EINVAL);
}

void wrong_batch(kv_db *db)
{
    const kv_op ops[] = {{.kind = KV_OP_PUT, .key = {"k", 1}}, {.kind = 99}};
    const kv_op reserved[] = {{.kind = KV_OP_PUT, .key = {"k", 1}, .reserved = {1}}};
    kv_write_result result = {.size = sizeof result};
    FUZZ_MUST(kv_db_write(db, ops, 2, 0, &result) == KV_EINVAL && result.failed_op == 1);
    FUZZ_MUST(kv_db_write(db, reserved, 1, 0, &result) == KV_EINVAL && result.failed_op == 0);
}

void wrong_reader(kv_txn *txn)
{
    kv_tree *tree, *main = kv_txn_main(txn);
    uint32_t n;
    uint64_t count;
    void *room;
    FUZZ_MUST(kv_put(main, "k", 1, "v", 1, 0) == KV_EREADONLY);
    FUZZ_MUST(kv_reserve(main, "k", 1, 1, 0, &room) == KV_EREADONLY && !room);
    FUZZ_MUST(kv_del(main, "k", 1) == KV_EREADONLY);
    FUZZ_MUST(kv_del_range(main, NULL, &count) == KV_EREADONLY);
    FUZZ_MUST(kv_tree_clear(main) == KV_EREADONLY);
    FUZZ_MUST(kv_tree_drop(main) == KV_EINVAL);
    FUZZ_MUST(kv_tree_open(txn, "new", 3, KV_TREE_CREATE, NULL, &tree) == KV_EREADONLY && !tree);
    FUZZ_MUST(kv_tree_open(txn, "", 0, 0, NULL, &tree) == KV_EINVAL);
    FUZZ_MUST(kv_tree_open(txn, "a", 1, KV_TREE_EXCLUSIVE, NULL, &tree) == KV_EINVAL);
    FUZZ_MUST(kv_txn_savepoint(txn, &n) == KV_EINVAL);
    FUZZ_MUST(kv_cursor_open(main, NULL, NULL) == KV_EINVAL);
}

void wrong_writer(kv_txn *txn)
{
    kv_tree *main = kv_txn_main(txn);
    kv_range range = {.size = 3};
    uint64_t count;
    FUZZ_MUST(kv_txn_refresh(txn) == KV_EINVAL);
    FUZZ_MUST(kv_put(NULL, "k", 1, "v", 1, 0) == KV_EINVAL);
    FUZZ_MUST(kv_put(main, NULL, 1, "v", 1, 0) == KV_EINVAL);
    FUZZ_MUST(kv_put(main, "k", 1, "v", 1, 77) == KV_EINVAL);
    FUZZ_MUST(kv_count(main, &range, &count) == KV_EINVAL);
    FUZZ_MUST(kv_txn_release(txn, 99) == KV_NOTFOUND);
}
