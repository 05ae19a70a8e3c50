/* demo.h - what the parts of the demo's helper share: the source data, the database, the report.
 *
 * The helper sees kv as any user does, through kv.h. It reads the source files itself, so that what
 * it compares the database with has not passed through kv. Any mistake ends it with a message.
 */
#ifndef DEMO_H
#define DEMO_H

#include <kv.h>

enum { BATCH = 100 }; /* records per commit */

/* ---- source.c: the records as the source files have them ---- */

struct record {
    const char *key;
    size_t key_len;
    const char *value;
    size_t value_len;
};

struct source {
    struct record *records; /* in key order, one per key */
    size_t n;
    char *text; /* the file: keys and values point into it */
};

struct data {
    struct source packages; /* stanzas by package name; in the main tree */
    struct source unicode;  /* lines by code point; in the tree "unicode" */
    size_t n;               /* of both */
    uint32_t *shuffled;     /* 0 to n - 1 in random order; packages come before characters */
};

void demo_read_sources(struct data *data, const char *packages, const char *unicode);
void demo_free_sources(struct data *data);
const struct record *demo_record(const struct data *data, size_t index);

/* ---- store.c: the database, and records in it ---- */

/* A record has generations: 0 is the source's value, another has its number in front. */
struct view {
    kv_txn *txn;
    kv_tree *packages, *unicode;
};

kv_db *demo_open(const char *path);
void demo_close(kv_db *db);
void demo_check(kv_db *db, int rc, const char *what); /* dies unless KV_OK */
void demo_begin(kv_db *db, uint32_t flags, struct view *view);
void demo_commit(kv_db *db, struct view *view);

void demo_put(kv_db *db, struct view *view, const struct data *data, size_t index,
              uint64_t generation);
/* Whether the record at index has that generation. */
bool demo_is(struct view *view, const struct data *data, size_t index, uint64_t generation);
/* Walks both trees side by side with the source and counts the records that are not of the
 * generation, too many or missing. */
uint64_t demo_differences(kv_db *db, struct view *view, const struct data *data,
                          uint64_t generation);

/* ---- steps of demo.sh: each prints a line or two and dies when something is wrong ---- */

void demo_verify(const char *path, const struct data *data);
void demo_lookup(const char *path, const struct data *data);
void demo_snapshot(const char *path, const struct data *data);
void demo_kill(const char *path, const struct data *data);

/* ---- main.c ---- */

_Noreturn void demo_die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void demo_say(const char *step, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *demo_number(uint64_t number); /* "63,666"; good until four more were asked for */
double demo_now(void);                    /* seconds */

#endif
