/* undo.c - a document with an undo history that outlives the program: a named snapshot per step.
 *
 *     undo set NAME TEXT     changes a line of the document
 *     undo del NAME          removes one
 *     undo show              prints the document
 *     undo undo              takes the newest change back
 *     undo redo              and makes it again
 *     undo history           lists the steps; > is where the document stands
 *
 * The document is the tree "document" in the file that $UNDO names, undo.kv by default. Before a change
 * the state is kept as the snapshot "step N"; undo keeps the state that it leaves as "redo N", and
 * goes back in one commit that writes what differs. At most KEEP steps are kept: the oldest is dropped
 * with the next change, and its space used again. Exit status: 0 done, 1 nothing to do, 2 wrong usage,
 * 3 trouble.
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

/* ---- the steps: numbers of the snapshots "step N" and "redo N" ---- */

typedef struct steps {
    unsigned oldest, newest; /* that can be undone; 0: none */
    unsigned redo_from;      /* the smallest that can be redone; 0: none */
    unsigned redo_to;
} steps;

static int step_add(void *context, const kv_snapshot_info *info)
{
    steps *s = context;
    char name[NAME_MAX_LEN];
    unsigned n;
    size_t len = info->name.len < sizeof name - 1 ? info->name.len : sizeof name - 1;
    memcpy(name, info->name.ptr, len);
    name[len] = 0;
    if (sscanf(name, "step %u", &n) == 1) {
        s->oldest = s->oldest && s->oldest < n ? s->oldest : n;
        s->newest = s->newest > n ? s->newest : n;
    } else if (sscanf(name, "redo %u", &n) == 1) {
        s->redo_from = s->redo_from && s->redo_from < n ? s->redo_from : n;
        s->redo_to = s->redo_to > n ? s->redo_to : n;
    }
    return 0;
}

static int steps_read(steps *s)
{
    *s = (steps){0};
    return kv_snapshot_list(db, step_add, s);
}

/* One of the calls on snapshots, for "kind n". */
static int step_do(int (*call)(kv_db *db, const void *name, size_t len, uint32_t flags),
                   const char *kind, unsigned n)
{
    char name[NAME_MAX_LEN];
    int len = snprintf(name, sizeof name, "%s %u", kind, n);
    return call(db, name, (size_t)len, 0);
}

/* ---- changes ---- */

/* A change ends what could be redone. */
static int history_grow(void)
{
    steps s;
    int rc = steps_read(&s);
    for (unsigned n = s.redo_from; rc == KV_OK && n && n <= s.redo_to; n++)
        rc = step_do(kv_snapshot_drop, "redo", n);
    if (rc == KV_OK && s.newest && s.newest - s.oldest + 1 >= KEEP)
        rc = step_do(kv_snapshot_drop, "step", s.oldest);
    return rc == KV_OK ? step_do(kv_snapshot_create, "step", s.newest + 1) : rc;
}

static int change(const char *name, const char *text)
{
    kv_txn *txn;
    kv_tree *tree;
    int rc = history_grow();
    if (rc == KV_OK)
        rc = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (rc != KV_OK)
        return trouble(rc);
    rc = kv_tree_open(txn, "document", 8, KV_TREE_CREATE, NULL, &tree);
    if (rc == KV_OK)
        rc = text ? kv_put(tree, name, strlen(name), text, strlen(text), 0)
                  : kv_del(tree, name, strlen(name));
    if (rc == KV_OK || rc == KV_NOTFOUND)
        rc = kv_txn_commit(txn);
    else
        kv_txn_abort(txn);
    return rc == KV_OK ? DONE : trouble(rc);
}

/* Keeps the present as "redo N" and goes back to "step N"; or the other way round. */
static int travel(bool back)
{
    steps s;
    int rc = steps_read(&s);
    unsigned n = back ? s.newest : s.redo_from;
    if (rc == KV_OK && n == 0) {
        puts(back ? "nothing to undo" : "nothing to redo");
        return NOTHING;
    }
    if (rc == KV_OK)
        rc = step_do(kv_snapshot_create, back ? "redo" : "step", n);
    if (rc == KV_OK)
        rc = step_do(kv_snapshot_restore, back ? "step" : "redo", n);
    if (rc == KV_OK)
        rc = step_do(kv_snapshot_drop, back ? "step" : "redo", n);
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
    for (unsigned n = s.oldest; n && n <= s.newest; n++)
        printf("  %u\n", n);
    puts("> now");
    for (unsigned n = s.redo_from; n && n <= s.redo_to; n++)
        printf("  %u (undone)\n", n);
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
