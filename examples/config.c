/* config.c - the settings of a command-line tool, which may run many times at once.
 *
 *     config                      lists all settings
 *     config get NAME             prints one
 *     config set NAME VALUE
 *     config unset NAME           back to the default
 *     config add NAME NUMBER      changes a number by so much, and prints it
 *
 * They are kept in the file that $CONFIG names, config.kv by default. Each call opens the file, does
 * its work and closes it. Calls that run at the same time do not disturb each other: one that reads
 * never waits, those that write take turns, and `add` reads and writes in one transaction, so that
 * none is lost. Exit status: 0 done, 1 no such setting or no number, 2 wrong usage, 3 trouble.
 */
#include <kv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DONE, NO, USAGE, TROUBLE, WAIT_MS = 10000 };

static const struct setting {
    const char *name, *value;
} defaults[] = {
    {"color", "auto"},
    {"editor", "vi"},
    {"retries", "3"},
};

static const char *default_of(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++)
        if (strlen(defaults[i].name) == len && memcmp(defaults[i].name, name, len) == 0)
            return defaults[i].value;
    return NULL;
}

/* ---- the file ---- */

struct config {
    kv_db *db; /* NULL: there is no file yet, so all is as by default */
    kv_txn *txn;
    kv_tree *tree;
};

static const char *config_path(void)
{
    const char *path = getenv("CONFIG");
    return path ? path : "config.kv";
}

static int trouble(kv_db *db, int rc)
{
    char message[256] = "";
    kv_db_errmsg(db, message, sizeof message);
    fprintf(stderr, "config: %s: %s\n", config_path(), *message ? message : kv_strerror(rc));
    return TROUBLE;
}

/* Opens the file and begins a transaction. Whoever only reads needs no file, and may lack the right
 * to write it. */
static int config_begin(struct config *config, bool write)
{
    kv_options options = {.size = sizeof options,
                          .flags = write ? KV_OPEN_CREATE : KV_OPEN_READONLY};
    char message[256];
    int rc = kv_db_open_explain(config_path(), &options, &config->db, message, sizeof message);
    if (rc == KV_ENOENT && !write)
        return DONE;
    if (rc != KV_OK) {
        fprintf(stderr, "config: %s: %s\n", config_path(), message);
        return TROUBLE;
    }
    rc = write ? kv_txn_begin_wait(config->db, KV_TXN_WRITE, WAIT_MS, &config->txn)
               : kv_txn_begin(config->db, KV_TXN_READ, &config->txn);
    if (rc != KV_OK) {
        trouble(config->db, rc);
        kv_db_close(config->db);
        return TROUBLE;
    }
    config->tree = kv_txn_main(config->txn);
    return DONE;
}

/* Commits if all went well so far, and closes. */
static int config_end(struct config *config, int status)
{
    int rc = KV_OK;
    if (status == DONE && config->txn)
        rc = kv_txn_commit(config->txn); /* ends a transaction that only read as well */
    else
        kv_txn_abort(config->txn);
    if (rc != KV_OK)
        status = trouble(config->db, rc);
    if (kv_db_close(config->db) != KV_OK)
        status = TROUBLE;
    return status;
}

/* ---- settings ---- */

/* The value that counts. KV_NOTFOUND: no such setting. */
static int setting_get(struct config *config, const char *name, kv_slice *value)
{
    int rc = config->db ? kv_get(config->tree, name, strlen(name), value) : KV_NOTFOUND;
    const char *text = rc == KV_NOTFOUND ? default_of(name, strlen(name)) : NULL;
    if (!text)
        return rc;
    *value = (kv_slice){text, strlen(text)};
    return KV_OK;
}

static int run_get(struct config *config, char **argv)
{
    kv_slice value;
    int rc = setting_get(config, argv[0], &value);
    if (rc < 0)
        return trouble(config->db, rc);
    if (rc == KV_OK)
        printf("%.*s\n", (int)value.len, (const char *)value.ptr);
    return rc == KV_OK ? DONE : NO;
}

static int run_set(struct config *config, char **argv)
{
    int rc = kv_put(config->tree, argv[0], strlen(argv[0]), argv[1], strlen(argv[1]), 0);
    return rc == KV_OK ? DONE : trouble(config->db, rc);
}

static int run_unset(struct config *config, char **argv)
{
    int rc = kv_del(config->tree, argv[0], strlen(argv[0]));
    return rc < 0 ? trouble(config->db, rc) : rc == KV_OK ? DONE : NO;
}

static bool number_read(kv_slice text, int *number)
{
    char copy[16], more;
    if (text.len >= sizeof copy)
        return false;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return sscanf(copy, "%9d%c", number, &more) == 1;
}

/* Nobody else writes between this reading and this writing. */
static int run_add(struct config *config, char **argv)
{
    char text[32];
    kv_slice value = {"0", 1}, change = {argv[1], strlen(argv[1])};
    int number, by;
    int rc = setting_get(config, argv[0], &value);
    if (rc < 0)
        return trouble(config->db, rc);
    if (!number_read(value, &number) || !number_read(change, &by))
        return NO;
    snprintf(text, sizeof text, "%d", number + by);
    rc = kv_put(config->tree, argv[0], strlen(argv[0]), text, strlen(text), 0);
    if (rc != KV_OK)
        return trouble(config->db, rc);
    puts(text);
    return DONE;
}

static int list_stored(struct config *config)
{
    kv_cursor *cursor;
    kv_slice key, value;
    int rc = kv_cursor_open(config->tree, NULL, &cursor);
    if (rc != KV_OK)
        return trouble(config->db, rc);
    while ((rc = kv_cursor_next(cursor)) == KV_OK && kv_cursor_get(cursor, &key, &value) == KV_OK)
        printf("%.*s=%.*s\n", (int)key.len, (const char *)key.ptr, (int)value.len,
               (const char *)value.ptr);
    kv_cursor_close(cursor);
    return rc == KV_NOTFOUND ? DONE : trouble(config->db, rc);
}

/* What is stored, all of one moment, then the defaults of what is not. */
static int run_list(struct config *config, char **argv)
{
    (void)argv;
    int status = config->db ? list_stored(config) : DONE;
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults && status == DONE; i++) {
        const char *name = defaults[i].name;
        if (!config->db || kv_exists(config->tree, name, strlen(name)) == KV_NOTFOUND)
            printf("%s=%s (default)\n", name, defaults[i].value);
    }
    return status;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int arguments;
        bool write;
        int (*run)(struct config *config, char **argv);
    } commands[] = {
        {"list", 0, false, run_list},  {"get", 1, false, run_get}, {"set", 2, true, run_set},
        {"unset", 1, true, run_unset}, {"add", 2, true, run_add},
    };
    const char *name = argc > 1 ? argv[1] : "list";
    int arguments = argc > 1 ? argc - 2 : 0;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, name) != 0 || commands[i].arguments != arguments)
            continue;
        struct config config = {NULL, NULL, NULL};
        int status = config_begin(&config, commands[i].write);
        return status == DONE ? config_end(&config, commands[i].run(&config, argv + 2)) : status;
    }
    fprintf(stderr, "usage: config [get NAME | set NAME VALUE | unset NAME | add NAME NUMBER]\n");
    return USAGE;
}
