/* read.c - the steps that only read: verify every record, look all of them up. */
#include "demo.h"

#include <inttypes.h>

void demo_verify(const char *path, const struct data *data)
{
    kv_db *db = demo_open(path);
    struct view view;
    demo_begin(db, KV_TXN_READ, &view);
    uint64_t wrong = demo_differences(db, &view, data, 0);
    kv_txn_abort(view.txn);
    demo_close(db);
    if (wrong > 0)
        demo_die("%" PRIu64 " records differ from the source", wrong);
    demo_say("verify", "all %s records equal their source, byte for byte, and there is no other",
             demo_number(data->n));
}

void demo_lookup(const char *path, const struct data *data)
{
    kv_db *db = demo_open(path);
    struct view view;
    uint64_t wrong = 0;
    demo_begin(db, KV_TXN_READ, &view);
    double start = demo_now();
    for (size_t i = 0; i < data->n; i++)
        wrong += !demo_is(&view, data, data->shuffled[i], 0);
    double took = demo_now() - start;
    kv_txn_abort(view.txn);
    demo_close(db);
    if (wrong > 0)
        demo_die("%" PRIu64 " lookups gave a wrong answer", wrong);
    demo_say("", "all %s in random order, each compared with its source: %s a second",
             demo_number(data->n), demo_number((uint64_t)((double)data->n / took)));
}
