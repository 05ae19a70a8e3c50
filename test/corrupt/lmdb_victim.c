/* lmdb_victim.c - see lmdb_victim.h. */
#include "lmdb_victim.h"

#ifdef HAVE_LMDB

#include "rng.h"
#include <fcntl.h>
#include <lmdb.h>
#include <unistd.h>

#define COMMITS      160
#define LARGE        8000
#define SMALL        150   /* entries of the small tree */
#define ENTRIES_SANE 50000 /* a scan that meets more goes in circles */

static const char *const tree_names[LMDB_TREES] = {NULL, "small"};

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "lmdb_victim: %s\n", what);
    exit(1);
}

static void must(int rc)
{
    if (rc != 0)
        give_up(mdb_strerror(rc));
}

static int open_env(const lmdb_victim *v, unsigned flags, MDB_env **env)
{
    int rc = mdb_env_create(env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(*env, 4);
    if (rc == 0)
        rc = mdb_env_set_mapsize(*env, (size_t)64 << 20);
    return rc ? rc : mdb_env_open(*env, v->path, flags | MDB_NOSUBDIR | MDB_NOSYNC, 0600);
}

/* ---- making ---- */

static MDB_val key_of(unsigned number, char text[16])
{
    return (MDB_val){(size_t)snprintf(text, 16, "k%05u", number), text};
}

static void put(lmdb_victim *v, MDB_txn *txn, MDB_dbi dbi, unsigned t, unsigned number, size_t len)
{
    static uint8_t bytes[LMDB_ENTRIES + LARGE];
    rng random;
    char text[16];
    if (v->n[0] == 0) {
        rng_seed(&random, 5);
        rng_fill(&random, bytes, sizeof bytes);
    }
    MDB_val key = key_of(number, text), value = {len, bytes + number};
    must(mdb_put(txn, dbi, &key, &value, 0));
    v->values[t][number] = (kv_slice){bytes + number, len};
    v->n[t] = number < v->n[t] ? v->n[t] : number + 1;
}

/* As much as the other database holds. */
static void fill(lmdb_victim *v)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi, small;
    must(open_env(v, 0, &env));
    for (unsigned i = 0; i < COMMITS; i++) {
        must(mdb_txn_begin(env, NULL, 0, &txn));
        must(mdb_dbi_open(txn, NULL, 0, &dbi));
        must(mdb_dbi_open(txn, tree_names[1], MDB_CREATE, &small));
        for (unsigned k = 0; i == 0 && k < LMDB_ENTRIES; k++)
            put(v, txn, dbi, 0, k, 20 + k % 170);
        for (unsigned k = 0; i == 0 && k < SMALL; k++)
            put(v, txn, small, 1, k, 3);
        put(v, txn, dbi, 0, i * 7 % LMDB_ENTRIES, i ? 20 + i % 100 : LARGE);
        must(mdb_txn_commit(txn));
    }
    mdb_env_close(env);
}

static void image_take(lmdb_victim *v)
{
    FILE *file = fopen(v->path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        give_up("the file is not there");
    v->size = (size_t)ftell(file);
    v->image = malloc(v->size);
    rewind(file);
    if (!v->image || fread(v->image, 1, v->size, file) != v->size)
        give_up("the file cannot be read");
    fclose(file);
}

void lmdb_victim_make(lmdb_victim *v)
{
    const char *folder = getenv("TMPDIR");
    memset(v, 0, sizeof *v);
    snprintf(v->path, sizeof v->path, "%s/hostile-%d.mdb", folder ? folder : "/tmp", (int)getpid());
    fill(v);
    image_take(v);
}

void lmdb_victim_free(lmdb_victim *v)
{
    unlink(v->path);
    strncat(v->path, "-lock", sizeof v->path - strlen(v->path) - 1);
    unlink(v->path);
    free(v->image);
}

static void write_at(const lmdb_victim *v, const uint8_t *bytes, size_t len, size_t at)
{
    int fd = open(v->path, O_WRONLY);
    if (fd < 0 || pwrite(fd, bytes, len, (off_t)at) != (ssize_t)len ||
        ftruncate(fd, (off_t)v->size) != 0)
        give_up("the file cannot be written");
    close(fd);
}

void lmdb_victim_put(const lmdb_victim *v, const uint8_t *bytes)
{
    write_at(v, bytes, v->size, 0);
}

void lmdb_victim_put_byte(const lmdb_victim *v, size_t at, uint8_t byte)
{
    write_at(v, &byte, 1, at);
}

/* ---- judging ---- */

static trial_answer worst(trial_answer a, trial_answer b)
{
    return a > b ? a : b;
}

static trial_answer answer_of(int rc)
{
    return rc == 0 ? TRIAL_RIGHT : TRIAL_ERROR;
}

static trial_answer wrong(const lmdb_victim *v)
{
    return v->lenient ? TRIAL_RIGHT : TRIAL_WRONG;
}

/* Where answers are not judged, each byte is touched. */
static bool right_bytes(const lmdb_victim *v, const MDB_val *got, const void *bytes, size_t len)
{
    volatile uint8_t last;
    for (size_t i = 0; v->lenient && i < got->mv_size; i++)
        last = ((const uint8_t *)got->mv_data)[i];
    (void)last;
    return v->lenient || (got->mv_size == len && memcmp(got->mv_data, bytes, len) == 0);
}

static bool right_entry(const lmdb_victim *v, unsigned t, unsigned i, const MDB_val *key,
                        const MDB_val *value)
{
    char text[16];
    MDB_val name = key_of(i, text);
    if (i >= v->n[t])
        return v->lenient && right_bytes(v, value, NULL, 0);
    return right_bytes(v, key, name.mv_data, name.mv_size) &&
           right_bytes(v, value, v->values[t][i].ptr, v->values[t][i].len);
}

/* In the main tree stands a record of each other one, which is nobody's entry. */
static bool is_record(unsigned t, const MDB_val *key)
{
    size_t len = strlen(tree_names[1]);
    return t == 0 && key->mv_size == len && memcmp(key->mv_data, tree_names[1], len) == 0;
}

static trial_answer scan(const lmdb_victim *v, MDB_txn *txn, MDB_dbi dbi, unsigned t)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    unsigned n = 0;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    if (rc != 0)
        return TRIAL_ERROR;
    while (n < ENTRIES_SANE && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (is_record(t, &key))
            continue;
        if (!right_entry(v, t, n++, &key, &value))
            return mdb_cursor_close(cursor), TRIAL_WRONG;
    }
    mdb_cursor_close(cursor);
    if (rc != 0 && rc != MDB_NOTFOUND)
        return TRIAL_ERROR;
    return n == v->n[t] ? TRIAL_RIGHT : wrong(v);
}

static trial_answer gets(const lmdb_victim *v, MDB_txn *txn, MDB_dbi dbi, unsigned t)
{
    trial_answer answer = TRIAL_RIGHT;
    for (unsigned i = 0; i < v->n[t]; i += 1 + i / 40) {
        char text[16];
        MDB_val value, key = key_of(i, text);
        int rc = mdb_get(txn, dbi, &key, &value);
        if (rc == MDB_NOTFOUND || (rc == 0 && !right_entry(v, t, i, &key, &value)))
            answer = worst(answer, wrong(v));
        else
            answer = worst(answer, answer_of(rc));
    }
    return answer;
}

static trial_answer read_all(const lmdb_victim *v, MDB_txn *txn, MDB_dbi dbis[LMDB_TREES])
{
    trial_answer answer = TRIAL_RIGHT;
    for (unsigned t = 0; t < LMDB_TREES; t++) {
        int rc = mdb_dbi_open(txn, tree_names[t], 0, &dbis[t]);
        if (rc != 0) {
            answer = worst(answer, rc == MDB_NOTFOUND ? wrong(v) : TRIAL_ERROR);
            continue;
        }
        answer = worst(answer, scan(v, txn, dbis[t], t));
        answer = worst(answer, gets(v, txn, dbis[t], t));
    }
    return answer;
}

trial_answer lmdb_victim_read(const lmdb_victim *v)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbis[LMDB_TREES];
    int rc = open_env(v, MDB_RDONLY, &env);
    trial_answer answer = answer_of(rc);
    if (rc == 0 && (rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn)) == 0) {
        answer = read_all(v, txn, dbis);
        mdb_txn_abort(txn);
    }
    mdb_env_close(env);
    return rc == 0 ? answer : TRIAL_ERROR;
}

trial_answer lmdb_victim_write(const lmdb_victim *v)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbis[LMDB_TREES];
    char text[16];
    MDB_val value = {7, text}, low = key_of(5, text), high = {2, text};
    if (open_env(v, 0, &env) != 0 || mdb_txn_begin(env, NULL, 0, &txn) != 0)
        return TRIAL_ERROR;
    trial_answer answer = read_all(v, txn, dbis);
    if (answer != TRIAL_RIGHT)
        return answer;
    int rc = mdb_put(txn, dbis[0], &low, &value, 0);
    if (rc == 0)
        rc = mdb_put(txn, dbis[1], &high, &value, 0);
    return answer_of(rc == 0 ? mdb_txn_commit(txn) : rc);
}

#endif
