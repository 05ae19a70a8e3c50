/* sessions.c - a session store: logins that end some time after they were last used.
 *
 * A session is an entry with a time to live. Each use puts its end off, but only when that gains a
 * thirtieth of its lifetime: of half an hour, a session that is read a hundred times a second is
 * written once a minute. Nobody is shown one that has ended, from that very millisecond; every write
 * clears a few of those away.
 *
 *     sessions [LIFETIME]
 *
 * Shows this with sessions that end LIFETIME milliseconds after their last use, 1000 by default: alice
 * uses hers for one and a half times as long, bob ends his, 100 others never come back.
 */
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OTHERS = 100, ROUNDS = 15, ROUNDS_A_LIFETIME = 10, USES_A_ROUND = 100, SWEPT_PER_WRITE = 4 };

typedef struct store {
    kv_db *db;
    uint64_t lifetime; /* milliseconds */
    unsigned put_off;  /* uses that wrote */
} store;

static void fail(kv_db *db, int rc)
{
    char message[256] = "";
    kv_db_errmsg(db, message, sizeof message);
    fprintf(stderr, "sessions: %s\n", *message ? message : kv_strerror(rc));
}

static kv_op session_op(const store *s, uint32_t kind, const char *id)
{
    return (kv_op){.kind = kind, .key = {id, strlen(id)}, .ttl_ms = s->lifetime};
}

/* Begins a session of a user. */
static int session_begin(store *s, const char *id, const char *user)
{
    kv_op op = session_op(s, KV_OP_PUT, id);
    op.value = (kv_slice){user, strlen(user)};
    return kv_db_write(s->db, &op, 1, 0, NULL);
}

/* The user of a session, for whom it now lasts longer. KV_NOTFOUND: there is none, or it has ended. */
static int session_use(store *s, const char *id, char *user, size_t size)
{
    kv_txn *txn;
    kv_entry_info info = {.size = sizeof info};
    uint64_t gain = s->lifetime / 30;
    int rc = kv_txn_begin(s->db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_get_info(kv_txn_main(txn), id, strlen(id), &info);
    if (rc == KV_OK)
        snprintf(user, size, "%.*s", (int)info.value.len, (const char *)info.value.ptr);
    kv_txn_abort(txn);
    if (rc != KV_OK || info.ttl_ms + gain > s->lifetime)
        return rc; /* it was put off only just now */
    kv_op op = session_op(s, KV_OP_TOUCH, id);
    op.min_gain_ms = gain;
    s->put_off++;
    return kv_db_write(s->db, &op, 1, 0, NULL);
}

static int session_end(store *s, const char *id)
{
    kv_op op = {.kind = KV_OP_DEL, .key = {id, strlen(id)}};
    return kv_db_write(s->db, &op, 1, 0, NULL);
}

/* Writes clear ended sessions away; who writes rarely can also do it at night. */
static int sweep(store *s, uint64_t *removed)
{
    kv_sweep_result swept = {.size = sizeof swept};
    kv_txn *txn;
    int rc = kv_txn_begin(s->db, KV_TXN_WRITE, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_sweep_all(txn, NULL, &swept);
    int end = kv_txn_commit(txn);
    *removed = swept.removed;
    return rc == KV_OK ? end : rc;
}

/* ---- the demonstration ---- */

static void wait_ms(uint64_t ms)
{
    struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    nanosleep(&time, NULL);
}

/* How many sessions there are, and how many the file holds: also ended ones that are not swept. */
static int numbers(store *s, uint64_t *there, uint64_t *held)
{
    kv_tree_info info = {.size = sizeof info};
    kv_txn *txn;
    int rc = kv_txn_begin(s->db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_count(kv_txn_main(txn), NULL, there);
    if (rc == KV_OK)
        rc = kv_tree_stat(kv_txn_main(txn), &info);
    kv_txn_abort(txn);
    *held = info.entries;
    return rc;
}

static int print_numbers(store *s, const char *when)
{
    uint64_t there, held;
    int rc = numbers(s, &there, &held);
    if (rc == KV_OK)
        printf("%s: %llu sessions, the file holds %llu\n", when, (unsigned long long)there,
               (unsigned long long)held);
    return rc;
}

static int begin_all(store *s)
{
    char id[16];
    int rc = session_begin(s, "alice's", "alice");
    if (rc == KV_OK)
        rc = session_begin(s, "bob's", "bob");
    for (int i = 0; rc == KV_OK && i < OTHERS; i++) {
        snprintf(id, sizeof id, "other %d", i);
        rc = session_begin(s, id, "somebody");
    }
    return rc == KV_OK ? session_end(s, "bob's") : rc;
}

static int use_often(store *s)
{
    char user[64] = "";
    int rc = KV_OK;
    for (int i = 0; rc == KV_OK && i < ROUNDS * USES_A_ROUND; i++) {
        if (i % USES_A_ROUND == 0)
            wait_ms(s->lifetime / ROUNDS_A_LIFETIME);
        rc = session_use(s, "alice's", user, sizeof user);
    }
    if (rc == KV_NOTFOUND) { /* this program had to wait for longer than a lifetime */
        printf("%s came too late\n", user);
        return KV_OK;
    }
    if (rc == KV_OK)
        printf("%s used it %d times, which wrote %u times\n", user, ROUNDS * USES_A_ROUND,
               s->put_off);
    return rc;
}

/* Until alice's is over, and no use of it puts that off. */
static int wait_for_end(store *s)
{
    uint64_t there = 1, held;
    int rc = KV_OK;
    while (rc == KV_OK && there > 0) {
        wait_ms(s->lifetime / ROUNDS_A_LIFETIME);
        rc = numbers(s, &there, &held);
    }
    return rc;
}

static int demo(store *s)
{
    uint64_t removed;
    int rc = sweep(s, &removed); /* of an earlier run */
    if (rc == KV_OK)
        rc = begin_all(s);
    if (rc == KV_OK)
        rc = print_numbers(s, "at first");
    if (rc == KV_OK)
        rc = use_often(s);
    if (rc == KV_OK)
        rc = print_numbers(s, "now");
    if (rc == KV_OK)
        rc = sweep(s, &removed);
    if (rc != KV_OK)
        return rc;
    printf("swept %llu\n", (unsigned long long)removed);
    rc = print_numbers(s, "then");
    if (rc == KV_OK)
        rc = wait_for_end(s);
    return rc == KV_OK ? print_numbers(s, "in the end") : rc;
}

int main(int argc, char **argv)
{
    kv_options options = {
        .size = sizeof options, .flags = KV_OPEN_CREATE, .sweep_per_write = SWEPT_PER_WRITE};
    store s = {.lifetime = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000};
    if (s.lifetime == 0) {
        fputs("usage: sessions [LIFETIME]\n", stderr);
        return 2;
    }
    int rc = kv_db_open("sessions.kv", &options, &s.db);
    if (rc != KV_OK) {
        fprintf(stderr, "sessions: %s\n", kv_strerror(rc));
        return EXIT_FAILURE;
    }
    rc = demo(&s);
    if (rc != KV_OK)
        fail(s.db, rc);
    kv_db_close(s.db);
    return rc == KV_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
