/* hello.c - stores a record and reads it back: hello [FILE] */
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/hello.kv", folder ? folder : "/tmp");

    kv_db *db;
    kv_txn *txn;
    kv_slice value;
    if (kv_db_open(argc > 1 ? argv[1] : path, NULL, &db) != KV_OK ||
        kv_txn_begin(db, KV_TXN_WRITE, &txn) != KV_OK ||
        kv_put(kv_txn_main(txn), "hello", 5, "world", 5, 0) != KV_OK ||
        kv_get(kv_txn_main(txn), "hello", 5, &value) != KV_OK)
        return 1;
    printf("hello %.*s\n", (int)value.len, (const char *)value.ptr);
    return kv_txn_commit(txn) != KV_OK || kv_db_close(db) != KV_OK;
}
