/* engines.c - which engines this program has: those whose libraries were there when it was built. The
 * Makefile asks for the same headers. */
#include "bench.h"

#include <string.h>

static const struct entry {
    const char *name;
    const struct engine *engine; /* NULL: not built in */
} entries[] = {
    {"kv", &bench_kv},
    {"lmdb", &bench_lmdb},
    {"lmdb-writemap", &bench_lmdb_writemap},
#if __has_include(<rocksdb/c.h>)
    {"rocksdb", &bench_rocksdb},
#else
    {"rocksdb", NULL},
#endif
#if __has_include(<leveldb/c.h>)
    {"leveldb", &bench_leveldb},
#else
    {"leveldb", NULL},
#endif
#if __has_include(<sqlite3.h>)
    {"sqlite", &bench_sqlite},
#else
    {"sqlite", NULL},
#endif
#if __has_include(<db.h>)
    {"bdb", &bench_bdb},
#else
    {"bdb", NULL},
#endif
#if __has_include(<tkrzw_langc.h>)
    {"tkrzw", &bench_tkrzw},
#else
    {"tkrzw", NULL},
#endif
#if __has_include(<wiredtiger.h>)
    {"wiredtiger", &bench_wiredtiger},
#else
    {"wiredtiger", NULL},
#endif
};

enum { ENTRIES = sizeof entries / sizeof *entries };

const struct engine *bench_engine(const char *name)
{
    for (size_t i = 0; i < ENTRIES; i++)
        if (strcmp(entries[i].name, name) == 0)
            return entries[i].engine;
    return NULL;
}

void bench_engines_all(const struct engine *engines[ENGINES_MAX + 1])
{
    size_t n = 0;
    for (size_t i = 0; i < ENTRIES; i++)
        if (entries[i].engine)
            engines[n++] = entries[i].engine;
    engines[n] = NULL;
}

void bench_list_engines(FILE *out)
{
    for (size_t i = 0; i < ENTRIES; i++)
        fprintf(out, "  %-13s %s\n", entries[i].name,
                entries[i].engine ? entries[i].engine->version() : "(its library is not here)");
}
