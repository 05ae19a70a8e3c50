/* bench.h - what the parts of the benchmark share: options, keys, engines, the clock.
 *
 * A case runs in a process of its own; whatever goes wrong there ends that process with a message
 * (bench_die), so nothing here returns an error.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    KEY_MAX = 128,
    VALUE_MIN = 16,
    VALUE_MAX = 131072,
    ENGINES_MAX = 9,
    ROUNDS_MAX = 99,
    READERS_MAX = 32
};

enum key_kind {
    KEYS_RANDOM,   /* 16 random bytes */
    KEYS_RANDOM24, /* 24 random bytes */
    KEYS_DECIMAL,  /* 16 decimal digits */
    KEYS_INTEGER,  /* 8 bytes, big-endian */
    KEYS_PATH,     /* user:0001234567:profile */
    KEYS_URL       /* about 90 bytes, of which the last ones differ */
};

struct engine;

struct options {
    uint64_t n;       /* records */
    uint64_t commits; /* at most, in the cases of one-record commits */
    size_t value_len; /* bytes */
    int rounds;       /* of compare */
    bool cpu;         /* compare: processor time instead of the clock's */
    bool device;      /* with json: bytes that the device was given, after a sync */
    bool json;        /* JSON lines instead of a table */
    enum key_kind keys;
    size_t key_len;      /* bytes, the same for all keys of a kind */
    bool all;            /* compare: also the cases that only the suite runs */
    const char *only;    /* beginnings of names of cases, by commas; NULL: all */
    const char *dir;     /* where the files go */
    const char *redis;   /* order: the socket of a server to compare with */
    const char *group;   /* control group that the cases of more than memory enter; or NULL */
    uint64_t import_mib; /* import: keys and values */
    uint64_t budget_mib; /* import: kv's memory budget */
    int overwrites;      /* growth: of each record; sessions: turnovers */
    const struct engine *engines[ENGINES_MAX + 1]; /* ends with NULL */
};

/* ---- keys.c: every key and value is computed from its number, so none is read from memory ---- */

/* A permutation of the numbers below n, another one for each seed. */
struct order {
    uint64_t n;
    uint64_t seed;
    unsigned half; /* bits of each half of the Feistel network */
};

struct order bench_order(uint64_t n, uint64_t seed);
uint64_t bench_order_at(const struct order *order, uint64_t i);

/* The kind of that name, and its length in key_len; false: there is none. */
bool bench_key_kind(struct options *o, const char *name);
const char *bench_key_kind_name(const struct options *o);

/* Keys of greater numbers are greater. */
void bench_key(const struct options *o, uint64_t number, unsigned char key[KEY_MAX]);

/* The value of a record in its version; the first and last 8 bytes tell both numbers apart. */
void bench_value(const struct options *o, uint64_t number, uint64_t version, unsigned char *value);

/* Whether length, first and last 8 bytes are right: cheap enough for a timed loop. */
bool bench_value_ok(const struct options *o, uint64_t number, uint64_t version, const void *value,
                    size_t len);

/* What a scan adds up for one record. */
static inline uint64_t bench_scan_sum(const void *key, const void *value, size_t value_len)
{
    uint64_t a, b;
    __builtin_memcpy(&a, key, 8);
    __builtin_memcpy(&b, (const char *)value + value_len - 8, 8);
    return a + b;
}

/* ---- engines ---- */

enum store_flags {
    STORE_LAZY = 1,   /* commits do not wait for the disk, nor does closing */
    STORE_BUDGET = 2, /* keep to options.budget_mib */
    STORE_BEYOND = 4, /* to be read at random, and larger than memory */
    STORE_TREES = 8   /* with named trees */
};

/* An open database with at most one write transaction and READERS_MAX readers. A value that get
 * returned stays until the reader's next call. What an engine cannot do is NULL. */
struct store;

typedef void bench_visit(void *context, const void *key, const void *value, size_t value_len);
typedef bool bench_keep(void *context, const void *key, const void *value, size_t value_len);

struct engine {
    const char *name;
    const char *(*version)(void);
    bool processes; /* several may have a file open */
    struct store *(*open)(const struct options *o, const char *path, unsigned flags);
    void (*close)(struct store *s);
    void (*sync)(struct store *s);
    void (*write_begin)(struct store *s);
    void (*write_commit)(struct store *s);
    void (*put)(struct store *s, const void *key, const void *value, size_t value_len);
    void (*append)(struct store *s, const void *key, const void *value, size_t value_len);
    void (*del)(struct store *s, const void *key);
    /* Deletes, by a pass over all records in order, those that are not to be kept. */
    void (*retain)(struct store *s, bench_keep *keep, void *context);
    /* n pairs in the order of their keys, one behind the other. NULL: n times put. */
    void (*put_many)(struct store *s, size_t n, const unsigned char *keys,
                     const unsigned char *values, size_t value_len);
    /* One durable put from any thread; NULL: begin, put, commit do it. */
    void (*write_one)(struct store *s, const void *key, const void *value, size_t value_len);
    uint64_t (*flushes)(struct store *s); /* so far; NULL: not known */
    void (*read_begin)(struct store *s, int reader);
    void (*read_move)(struct store *s, int reader); /* to the newest snapshot */
    void (*read_end)(struct store *s, int reader);
    /* NULL: no such key */
    const void *(*get)(struct store *s, int reader, const void *key, size_t *value_len);
    /* n keys, one behind the other; all values stay until reader 0's next call. NULL: n times get. */
    void (*get_many)(struct store *s, size_t n, const unsigned char *keys, const void **values,
                     size_t *value_lens);
    /* Adds bench_scan_sum over all records, by the engine's own loop, for reader 0. */
    uint64_t (*scan)(struct store *s, uint64_t *records);
    uint64_t (*scan_back)(struct store *s, uint64_t *records);
    uint64_t (*scan_batch)(struct store *s, uint64_t *records);
    uint64_t (*scan_back_batch)(struct store *s, uint64_t *records);
    /* The same over at most n records, from the first key that is not below this one. */
    uint64_t (*range)(struct store *s, const void *key, uint64_t n, uint64_t *records);
    /* How many records there are, for reader 0. NULL: only a scan tells. */
    uint64_t (*count)(struct store *s);
    /* In the write transaction, and for reader 0: a record of a named tree. */
    void (*tree_put)(struct store *s, const char *tree, const void *key, const void *value,
                     size_t value_len);
    const void *(*tree_get)(struct store *s, const char *tree, const void *key, size_t *value_len);
    void (*each)(struct store *s, int reader, bench_visit *visit, void *context);
    uint64_t (*file_size)(struct store *s);
    /* Whoever opens it next finds it as small as the engine makes it. */
    void (*compact)(struct store *s);
    uint64_t (*live_size)(struct store *s); /* bytes of the pages that the newest snapshot uses */
    unsigned (*height)(struct store *s);
    unsigned (*page_size)(struct store *s);
};

/* engines.c: those whose libraries were there when this was built. */
extern const struct engine bench_kv, bench_lmdb, bench_lmdb_writemap, bench_rocksdb, bench_leveldb,
    bench_sqlite, bench_bdb, bench_tkrzw, bench_wiredtiger;
const struct engine *bench_engine(const char *name); /* NULL: not built in */
void bench_engines_all(const struct engine *engines[ENGINES_MAX + 1]);
void bench_list_engines(FILE *out);

/* ---- load.c: what several modes do with a store ---- */

/* Puts all records in one transaction, in key order when sorted, else in a random one. */
void bench_load(const struct options *o, const struct engine *e, struct store *s, bool sorted);

/* Reads everything reader sees and dies unless it is n records of the version, in order. */
void bench_verify(const struct options *o, const struct engine *e, struct store *s, int reader,
                  uint64_t version);

/* The same when only every step-th record, from the first on, is there. */
void bench_verify_every(const struct options *o, const struct engine *e, struct store *s,
                        int reader, uint64_t version, uint64_t step);

/* A record in a transaction of its own. */
void bench_write_one(const struct options *o, const struct engine *e, struct store *s,
                     const unsigned char *key, const unsigned char *value);

/* ---- modes: each returns an exit status ---- */

int bench_compare(const struct options *o);
int bench_growth(const struct options *o);
int bench_import(const struct options *o);
int bench_writers(const struct options *o);
int bench_commit_cost(const struct options *o);
int bench_sharing(const struct options *o);
int bench_watch(const struct options *o);
int bench_sessions(const struct options *o);
int bench_begin_cost(const struct options *o);
int bench_by_number(const struct options *o);
int bench_few(const struct options *o);
void bench_list_cases(FILE *out);

/* ---- cases.c: what compare measures ---- */

struct measure {
    double value; /* in the case's unit */
    uint64_t operations;
    double seconds;
};

enum bench_when {
    ALWAYS, /* compare without --only */
    ALL,    /* the same with --all */
    NAMED,  /* only when --only names it */
};

struct bench_case {
    const char *name;
    const char *unit;
    const char *file; /* which of the engine's files it works on */
    bool makes;       /* later cases of the file need what it does */
    enum bench_when when;
    struct measure (*run)(const struct options *o, const struct engine *e, const char *path);
    const char *what;
};

extern const struct bench_case bench_cases[]; /* ends with a NULL name */

/* ---- util.c ---- */

double bench_now(void); /* seconds */
/* The same, or with --cpu the processor time of this process. */
double bench_clock(const struct options *o);
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Dies with the database's own words unless rc is KV_OK. */
struct kv_db;
void bench_must(struct kv_db *db, int rc, const char *what);
void bench_path(char *path, size_t size, const struct options *o, const char *engine,
                const char *file);
void bench_remove(const char *path);        /* a file and what lies beside it, or a folder */
uint64_t bench_disk_size(const char *path); /* the same, in bytes */
void bench_drop_cache(const char *path);    /* writes it out, then no page of it is in memory */
/* Bytes that the block device of dir's file system was given so far, by all processes, after what is
 * under way there; not a number when that cannot be told. */
double bench_device_written(const char *dir);
void *bench_alloc(size_t size); /* zeros */
/* Runs fn in a process of its own; result receives what it wrote to its result. False: it failed. */
bool bench_apart(void (*fn)(void *context, void *result), void *context, void *result, size_t size);
/* "12.3 M"; text has 16 bytes. */
const char *bench_amount(double amount, char *text);
void bench_print_machine(const struct options *o, FILE *out);
double bench_median(const double *values, int n);

#endif
