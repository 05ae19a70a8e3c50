/* sessions.c - a session store: logins that end half an hour after they were last used.
 *
 * A session is an entry with a time to live. Each use puts its end off, but no more than once a minute,
 * so that a session that is read a hundred times a second is written once a minute. Nobody is shown one
 * that has ended, from that very millisecond; every write clears a few of those away.
 *
 *     sessions
 */
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE   60000u
#define LIFETIME (30 * MINUTE) /* milliseconds */

static int fail(kv_db *db, int rc)
{
    char message[256] = "";
    kv_db_errmsg(db, message, sizeof message);
    fprintf(stderr, "sessions: %s\n", *message ? message : kv_strerror(rc));
    return rc;
}

static kv_op session_op(uint32_t kind, const char *id, uint64_t lifetime_ms)
{
    return (kv_op){.kind = kind, .key = {id, strlen(id)}, .ttl_ms = lifetime_ms};
}

/* Begins a session of a user. */
static int session_begin(kv_db *db, const char *id, const char *user, uint64_t lifetime_ms)
{
    kv_op op = session_op(KV_OP_PUT, id, lifetime_ms);
    op.value = (kv_slice){user, strlen(user)};
    return kv_db_write(db, &op, 1, 0, NULL);
}

/* The user of a session, for whom it now lasts longer. KV_NOTFOUND: there is none, or it has ended. */
static int session_use(kv_db *db, const char *id, char *user, size_t size)
{
    kv_txn *txn;
    kv_entry_info info = {.size = sizeof info};
    int rc = kv_txn_begin(db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_get_info(kv_txn_main(txn), id, strlen(id), &info);
    if (rc == KV_OK)
        snprintf(user, size, "%.*s", (int)info.value.len, (const char *)info.value.ptr);
    kv_txn_abort(txn);
    if (rc != KV_OK || info.ttl_ms + MINUTE > LIFETIME)
        return rc; /* it was put off less than a minute ago */
    kv_op op = session_op(KV_OP_TOUCH, id, LIFETIME);
    op.min_gain_ms = MINUTE;
    return kv_db_write(db, &op, 1, 0, NULL);
}

static int session_end(kv_db *db, const char *id)
{
    kv_op op = session_op(KV_OP_DEL, id, 0);
    return kv_db_write(db, &op, 1, 0, NULL);
}

static int show(kv_db *db, const char *id)
{
    char user[64];
    int rc = session_use(db, id, user, sizeof user);
    if (rc < 0)
        return fail(db, rc);
    printf("%s: %s\n", id, rc == KV_OK ? user : "nobody");
    return KV_OK;
}

static int demo(kv_db *db)
{
    kv_sweep_result swept = {.size = sizeof swept};
    kv_txn *txn;
    int rc = session_begin(db, "3f2a", "alice", LIFETIME);
    if (rc == KV_OK)
        rc = session_begin(db, "77c1", "bob", LIFETIME);
    if (rc == KV_OK)
        rc = session_begin(db, "0e90", "carol", 1); /* a millisecond: over before anybody looks */
    if (rc == KV_OK)
        rc = session_end(db, "77c1");
    if (rc != KV_OK)
        return fail(db, rc);
    while ((rc = kv_txn_begin(db, KV_TXN_READ, &txn)) == KV_OK) {
        rc = kv_exists(kv_txn_main(txn), "0e90", 4);
        kv_txn_abort(txn);
        if (rc != KV_OK)
            break;
    }
    if (rc != KV_NOTFOUND || show(db, "3f2a") || show(db, "77c1") || show(db, "0e90"))
        return fail(db, rc);
    /* Writes clear ended sessions away; who writes rarely can also do it at night. */
    rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (rc == KV_OK) {
        rc = kv_sweep_all(txn, NULL, &swept);
        int end = kv_txn_commit(txn);
        rc = rc == KV_OK ? end : rc;
    }
    if (rc != KV_OK)
        return fail(db, rc);
    printf("swept %llu\n", (unsigned long long)swept.removed);
    return KV_OK;
}

int main(void)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .sweep_per_write = 4};
    kv_db *db;
    int rc = kv_db_open("sessions.kv", &options, &db);
    if (rc != KV_OK) {
        fprintf(stderr, "sessions: %s\n", kv_strerror(rc));
        return EXIT_FAILURE;
    }
    rc = demo(db);
    kv_db_close(db);
    return rc == KV_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
