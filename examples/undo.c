/* undo.c - a document with an undo history that outlives the program: a named snapshot per step.
 *
 *     undo set NAME TEXT     changes a line of the document
 *     undo del NAME          removes one
 *     undo show              prints the document
 *     undo undo              takes the newest change back
 *     undo redo              and makes it again
 *     undo history           lists the steps; > is where the document stands
 *
 * The document is the tree "document" in the file that $UNDO names, undo.kv by default. Each state of it
 * has a number, which is kept beside it and changes in the same commit: so a restored state tells by
 * itself where it stands. State N is left behind as the snapshot "step N", whichever way it is left;
 * those before the present can be undone to, those behind it redone. A kill between two commits leaves
 * at most a snapshot of the present, which the next step uses, or some less to redo. At most KEEP steps
 * are kept. Exit status: 0 done, 1 nothing to do, 2 wrong usage, 3 trouble.
 */
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DONE, NOTHING, USAGE, TROUBLE, KEEP = 100, NAME_MAX_LEN = 32 };

static kv_db *db;

static int trouble(int rc)
{
    char message[256] = "";
    kv_db_errmsg(db, message, sizeof message);
    fprintf(stderr, "undo: %s\n", *message ? message : kv_strerror(rc));
    return TROUBLE;
}

static int nothing(const char *what)
{
    printf("nothing to %s\n", what);
    return NOTHING;
}

/* ---- the steps: the number of the present, and those of the snapshots ---- */

typedef struct steps {
    uint64_t now;
    uint64_t oldest, newest; /* snapshots; now, when there is none */
} steps;

static int step_add(void *context, const kv_snapshot_info *info)
{
    steps *s = context;
    char name[NAME_MAX_LEN];
    unsigned long long n;
    snprintf(name, sizeof name, "%.*s", (int)info->name.len, (const char *)info->name.ptr);
    if (sscanf(name, "step %llu", &n) == 1) {
        s->oldest = s->oldest < n ? s->oldest : n;
        s->newest = s->newest > n ? s->newest : n;
    }
    return 0;
}

static int steps_read(steps *s)
{
    kv_txn *txn;
    kv_slice number;
    *s = (steps){0};
    int rc = kv_txn_begin(db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_get(kv_txn_main(txn), "now", 3, &number);
    if (rc == KV_OK && number.len == sizeof s->now)
        memcpy(&s->now, number.ptr, sizeof s->now);
    kv_txn_abort(txn);
    s->oldest = s->newest = s->now;
    return rc == KV_OK || rc == KV_NOTFOUND ? kv_snapshot_list(db, step_add, s) : rc;
}

/* One of the calls on snapshots, for "step n". */
static int step_do(int (*call)(kv_db *db, const void *name, size_t len, uint32_t flags), uint64_t n)
{
    char name[NAME_MAX_LEN];
    int len = snprintf(name, sizeof name, "step %llu", (unsigned long long)n);
    return call(db, name, (size_t)len, 0);
}

/* Keeps the present. When its snapshot is there already, it is of this same state. */
static int step_keep(uint64_t n)
{
    int rc = step_do(kv_snapshot_create, n);
    return rc == KV_EXISTS ? KV_OK : rc;
}

/* ---- changes ---- */

/* Nothing is behind the present any more. From the far end, so that a kill leaves no gap. */
static int redo_end(const steps *s)
{
    int rc = KV_OK;
    for (uint64_t n = s->newest; rc == KV_OK && n > s->now; n--)
        rc = step_do(kv_snapshot_drop, n);
    return rc;
}

static int old_end(const steps *s)
{
    int rc = KV_OK;
    for (uint64_t n = s->oldest; rc == KV_OK && n + KEEP <= s->now; n++)
        rc = step_do(kv_snapshot_drop, n);
    return rc;
}

/* The change and the number of the state after it, in one commit. */
static int document_write(uint64_t now, const char *name, const char *text)
{
    kv_txn *txn;
    kv_tree *tree;
    int rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_tree_open(txn, "document", 8, KV_TREE_CREATE, NULL, &tree);
    if (rc == KV_OK)
        rc = text ? kv_put(tree, name, strlen(name), text, strlen(text), 0)
                  : kv_del(tree, name, strlen(name));
    if (rc == KV_OK)
        rc = kv_put(kv_txn_main(txn), "now", 3, &now, sizeof now, 0);
    if (rc == KV_OK)
        return kv_txn_commit(txn);
    kv_txn_abort(txn);
    return rc;
}

/* KV_NOTFOUND: the document has no such line. */
static int document_has(const char *name)
{
    kv_txn *txn;
    kv_tree *tree;
    int rc = kv_txn_begin(db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return rc;
    rc = kv_tree_open(txn, "document", 8, 0, NULL, &tree);
    if (rc == KV_OK)
        rc = kv_exists(tree, name, strlen(name));
    kv_txn_abort(txn);
    return rc;
}

static int change(const char *name, const char *text)
{
    steps s;
    int rc = text ? KV_OK : document_has(name);
    if (rc == KV_NOTFOUND)
        return nothing("do");
    if (rc == KV_OK)
        rc = steps_read(&s);
    if (rc == KV_OK)
        rc = redo_end(&s);
    if (rc == KV_OK)
        rc = step_keep(s.now);
    if (rc == KV_OK)
        rc = document_write(s.now + 1, name, text);
    if (rc == KV_OK)
        rc = old_end(&s);
    return rc == KV_OK ? DONE : trouble(rc);
}

static int travel(bool back)
{
    steps s;
    int rc = steps_read(&s);
    if (rc == KV_OK && (back ? s.oldest >= s.now : s.newest <= s.now))
        return nothing(back ? "undo" : "redo");
    if (rc == KV_OK)
        rc = step_keep(s.now);
    if (rc == KV_OK)
        rc = step_do(kv_snapshot_restore, back ? s.now - 1 : s.now + 1);
    return rc == KV_OK ? DONE : trouble(rc);
}

/* ---- looking ---- */

static int show(void)
{
    kv_txn *txn;
    kv_tree *tree;
    kv_cursor *cursor = NULL;
    kv_slice key, value;
    int rc = kv_txn_begin(db, KV_TXN_READ, &txn);
    if (rc != KV_OK)
        return trouble(rc);
    rc = kv_tree_open(txn, "document", 8, 0, NULL, &tree);
    if (rc == KV_OK)
        rc = kv_cursor_open(tree, NULL, &cursor);
    while (rc == KV_OK && (rc = kv_cursor_next(cursor)) == KV_OK &&
           (rc = kv_cursor_get(cursor, &key, &value)) == KV_OK)
        printf("%.*s: %.*s\n", (int)key.len, (const char *)key.ptr, (int)value.len,
               (const char *)value.ptr);
    kv_txn_abort(txn);
    return rc == KV_NOTFOUND ? DONE : trouble(rc);
}

static int history(void)
{
    steps s;
    int rc = steps_read(&s);
    if (rc != KV_OK)
        return trouble(rc);
    for (uint64_t n = s.oldest + 1; n <= s.now; n++)
        printf("  %llu\n", (unsigned long long)n);
    puts("> now");
    for (uint64_t n = s.now + 1; n <= s.newest; n++)
        printf("  %llu (undone)\n", (unsigned long long)n);
    return DONE;
}

static int run(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (argc == 4 && strcmp(what, "set") == 0)
        return change(argv[2], argv[3]);
    if (argc == 3 && strcmp(what, "del") == 0)
        return change(argv[2], NULL);
    if (argc == 2 && strcmp(what, "show") == 0)
        return show();
    if (argc == 2 && strcmp(what, "undo") == 0)
        return travel(true);
    if (argc == 2 && strcmp(what, "redo") == 0)
        return travel(false);
    if (argc == 2 && strcmp(what, "history") == 0)
        return history();
    fputs("usage: undo set NAME TEXT | del NAME | show | undo | redo | history\n", stderr);
    return USAGE;
}

int main(int argc, char **argv)
{
    const char *path = getenv("UNDO");
    int rc = kv_db_open(path ? path : "undo.kv", NULL, &db);
    if (rc != KV_OK)
        return trouble(rc);
    int code = run(argc, argv);
    rc = kv_db_close(db);
    return rc == KV_OK ? code : trouble(rc);
}
