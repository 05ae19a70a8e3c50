/* Random damage of page headers, with checksums made right again, met by a reader and by a writer:
 *
 *     hostile kv [FILES] [SEED]      in this process, on a simulated disk: meant for a sanitized build
 *     hostile lmdb [FILES] [SEED]    the same damage to LMDB's file, two child processes for each
 *
 * LMDB's pages have no checksums, so there nothing needs to be made right. */
#include "surgeon.h"
#include "victim.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<lmdb.h>)
#include <lmdb.h>
#define HAVE_LMDB 1
#endif

#define SECONDS     10 /* after which a child counts as hanging */
#define HEADER      64
#define META_FIELDS 480 /* bytes of a meta that hold fields */
#define PAGE        4096
#define REFUSED     9 /* exit status of a child that got an error */

/* A number that is likely to be met by a wrong bound. */
static uint64_t awkward(rng *random, uint64_t pages)
{
    static const uint64_t numbers[] = {
        0,      1,      2,    3,    15,   16,         0x7f,       0x80,       0xff,    0x7fff,
        0x8000, 0xffff, 4080, 4095, 4096, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 20, UINT64_MAX};
    switch (rng_below(random, 3)) {
    case 0:
        return numbers[rng_below(random, KVI_COUNT(numbers))];
    case 1:
        return rng_below(random, pages + 2);
    default:
        return rng_next(random) >> rng_below(random, 64);
    }
}

/* One field of one page's header. Returns the page. */
static uint64_t damage(uint8_t *bytes, size_t size, rng *random)
{
    uint64_t pages = size / PAGE;
    uint64_t page = rng_one_in(random, 4) ? rng_below(random, 2) : rng_below(random, pages);
    size_t width = (size_t)1 << rng_below(random, 4), end = page < 2 ? META_FIELDS : HEADER;
    uint64_t number = awkward(random, pages);
    memcpy(bytes + page * PAGE + rng_below(random, end / width) * width, &number, width);
    return page;
}

/* ---- kv ---- */

static victim patient;

/* A page that has a header, as the sound file says. */
static bool has_header(const uint8_t *sound, uint64_t page)
{
    const uint8_t *at = sound + page * PAGE;
    return page >= 2 && at[KVI_P_type] >= KVI_LEAF && at[KVI_P_type] <= KVI_BLOCKED &&
           kvi_get64(at + KVI_P_page) == page;
}

static void forge(rng *random)
{
    surgeon s;
    surgeon_take(&s, patient.image, patient.size);
    for (uint64_t n = rng_between(random, 1, 3); n > 0; n--) {
        uint64_t page = damage(s.bytes, s.size, random);
        if (has_header(patient.image, page))
            surgeon_stamp(&s, page);
    }
    surgeon_stamp_meta(&s, 0);
    surgeon_stamp_meta(&s, 1);
    sim_reset(patient.disk);
    sim_put_file(patient.disk, VICTIM_NAME, s.bytes, s.size);
    surgeon_free(&s);
}

static int run_kv(uint64_t files, uint64_t seed)
{
    victim_make(&patient, PAGE, 5);
    patient.lenient = true;
    sim_set_guard(patient.disk, true);
    for (uint64_t i = 0; i < files; i++) {
        rng random;
        rng_seed(&random, seed + i);
        forge(&random);
        const char *fault = victim_read(&patient);
        if (!fault)
            fault = victim_write(&patient);
        if (!fault && i % 4 == 0)
            fault = victim_rough(&patient, &random);
        if (fault) {
            printf("file %llu: %s\n", (unsigned long long)(seed + i), fault);
            return 1;
        }
    }
    printf("kv: %llu files, %llu opens, %llu errors, 0 crashes\n", (unsigned long long)files,
           (unsigned long long)patient.opened, (unsigned long long)patient.errors);
    victim_free(&patient);
    return 0;
}

/* ---- LMDB ---- */

#ifdef HAVE_LMDB

static char path[512];

static void must(int rc)
{
    if (rc != 0) {
        fprintf(stderr, "hostile: %s\n", mdb_strerror(rc));
        exit(1);
    }
}

static int lmdb_open(unsigned flags, MDB_env **env)
{
    int rc = mdb_env_create(env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(*env, 4);
    if (rc == 0)
        rc = mdb_env_set_mapsize(*env, (size_t)64 << 20);
    return rc ? rc : mdb_env_open(*env, path, flags | MDB_NOSUBDIR | MDB_NOSYNC, 0600);
}

static int lmdb_put(MDB_txn *txn, MDB_dbi dbi, unsigned number, size_t len)
{
    static uint8_t bytes[20000];
    char text[16];
    snprintf(text, sizeof text, "k%05u", number);
    MDB_val key = {6, text}, value = {len, bytes};
    return mdb_put(txn, dbi, &key, &value, 0);
}

/* As much as the other database holds. */
static void lmdb_make(void)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi, small;
    must(lmdb_open(0, &env));
    for (unsigned i = 0; i < 160; i++) {
        must(mdb_txn_begin(env, NULL, 0, &txn));
        must(mdb_dbi_open(txn, NULL, 0, &dbi));
        must(mdb_dbi_open(txn, "small", MDB_CREATE, &small));
        for (unsigned k = 0; i == 0 && k < 900; k++)
            must(lmdb_put(txn, dbi, k, 20 + k % 170));
        for (unsigned k = 0; i == 0 && k < 150; k++)
            must(lmdb_put(txn, small, k, 3));
        must(lmdb_put(txn, dbi, i * 7 % 900, i ? 20 + i % 100 : 12000));
        must(mdb_txn_commit(txn));
    }
    mdb_env_close(env);
}

static int lmdb_scan(MDB_txn *txn, MDB_dbi dbi)
{
    MDB_cursor *cursor;
    MDB_val key, value;
    volatile uint8_t last;
    int rc = mdb_cursor_open(txn, dbi, &cursor);
    for (unsigned n = 0; rc == 0 && n < 50000; n++) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        for (size_t i = 0; rc == 0 && i < value.mv_size; i++)
            last = ((const uint8_t *)value.mv_data)[i];
    }
    (void)last;
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int lmdb_use(MDB_env *env, bool write)
{
    MDB_txn *txn;
    MDB_dbi dbi, small;
    int rc = mdb_txn_begin(env, NULL, write ? 0 : MDB_RDONLY, &txn);
    if (rc == 0)
        rc = mdb_dbi_open(txn, NULL, 0, &dbi);
    if (rc == 0)
        rc = lmdb_scan(txn, dbi);
    if (rc == 0)
        rc = mdb_dbi_open(txn, "small", 0, &small);
    if (rc == 0)
        rc = lmdb_scan(txn, small);
    if (rc == 0 && write)
        rc = lmdb_put(txn, dbi, 5, 7);
    if (rc == 0 && write)
        rc = lmdb_put(txn, small, 5000, 2);
    return rc == 0 && write ? mdb_txn_commit(txn) : rc;
}

/* Neither a whole environment nor a transaction is given back: the process ends. */
static _Noreturn void lmdb_child(bool write)
{
    MDB_env *env;
    int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    alarm(SECONDS);
    int rc = lmdb_open(write ? 0 : MDB_RDONLY, &env);
    if (rc == 0)
        rc = lmdb_use(env, write);
    _exit(rc == 0 ? 0 : REFUSED);
}

static void write_file(const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

typedef struct tally {
    uint64_t right, errors, crashes, hangs;
} tally;

static void lmdb_try(bool write, tally *t)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        lmdb_child(write);
    if (child < 0 || waitpid(child, &status, 0) != child)
        exit(1);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        t->hangs++;
    else if (!WIFEXITED(status))
        t->crashes++;
    else if (WEXITSTATUS(status) == 0)
        t->right++;
    else /* a sanitizer ends the program in its own way */
        *(WEXITSTATUS(status) == REFUSED ? &t->errors : &t->crashes) += 1;
}

static void lmdb_report(const char *what, uint64_t files, const tally *t)
{
    printf("LMDB %s: %llu files, %llu crashes (%.1f %%), %llu hangs, %llu errors, %llu unnoticed\n",
           what, (unsigned long long)files, (unsigned long long)t->crashes,
           100.0 * (double)t->crashes / (double)files, (unsigned long long)t->hangs,
           (unsigned long long)t->errors, (unsigned long long)t->right);
}

/* The sound file's bytes. */
static uint8_t *read_whole(size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(1);
    }
    *size = (size_t)ftell(file);
    uint8_t *bytes = malloc(*size);
    rewind(file);
    if (!bytes || fread(bytes, 1, *size, file) != *size)
        exit(1);
    fclose(file);
    return bytes;
}

static void lmdb_remove(void)
{
    unlink(path);
    strncat(path, "-lock", sizeof path - strlen(path) - 1);
    unlink(path);
}

static int run_lmdb(uint64_t files, uint64_t seed)
{
    tally reading = {0}, writing = {0};
    const char *folder = getenv("TMPDIR");
    size_t size;
    snprintf(path, sizeof path, "%s/hostile-%d.mdb", folder ? folder : "/tmp", (int)getpid());
    lmdb_make();
    uint8_t *sound = read_whole(&size), *bytes = malloc(size);
    for (uint64_t i = 0; bytes && i < files; i++) {
        rng random;
        rng_seed(&random, seed + i);
        memcpy(bytes, sound, size);
        for (uint64_t n = rng_between(&random, 1, 3); n > 0; n--)
            damage(bytes, size, &random);
        write_file(bytes, size);
        lmdb_try(false, &reading);
        write_file(bytes, size);
        lmdb_try(true, &writing);
    }
    lmdb_report("reading", files, &reading);
    lmdb_report("writing", files, &writing);
    lmdb_remove();
    free(sound);
    free(bytes);
    return 0;
}

#else

static int run_lmdb(uint64_t files, uint64_t seed)
{
    printf("skip  LMDB is not installed (%llu files, seed %llu)\n", (unsigned long long)files,
           (unsigned long long)seed);
    return 0;
}

#endif

int main(int argc, char **argv)
{
    uint64_t files = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
    if (argc > 1 && strcmp(argv[1], "kv") == 0)
        return run_kv(files ? files : 100000, seed);
    if (argc > 1 && strcmp(argv[1], "lmdb") == 0)
        return run_lmdb(files ? files : 2000, seed);
    fputs("usage: hostile kv|lmdb [FILES] [SEED]\n", stderr);
    return 2;
}
