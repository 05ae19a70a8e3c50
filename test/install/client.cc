// A C++ program against the installed header and library: stores a record and reads it back.
#include <kv.h>

#include <cstdio>
#include <string>

static bool store(kv_db *db)
{
    kv_txn *txn = nullptr;
    if (kv_txn_begin(db, KV_TXN_WRITE, &txn) != KV_OK)
        return false;
    if (kv_put(kv_txn_main(txn), "language", 8, "C++", 3, 0) != KV_OK) {
        kv_txn_abort(txn);
        return false;
    }
    return kv_txn_commit(txn) == KV_OK;
}

static std::string load(kv_db *db)
{
    kv_txn *txn = nullptr;
    kv_slice value = {};
    std::string text;
    if (kv_txn_begin(db, KV_TXN_READ, &txn) != KV_OK)
        return text;
    if (kv_get(kv_txn_main(txn), "language", 8, &value) == KV_OK)
        text.assign(static_cast<const char *>(value.ptr), value.len);
    kv_txn_abort(txn);
    return text;
}

int main(int argc, char **argv)
{
    kv_db *db = nullptr;
    if (argc != 2 || kv_db_open(argv[1], nullptr, &db) != KV_OK)
        return 1;
    bool good = store(db) && load(db) == "C++";
    good = kv_db_close(db) == KV_OK && good;
    std::puts(good ? "ok" : "failed");
    return good ? 0 : 1;
}
