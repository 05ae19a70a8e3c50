/* session.h - the database of one command: open, one transaction at a time, one tree at a time,
 * and a sentence with advice for whatever goes wrong. */
#ifndef SESSION_H
#define SESSION_H

#include "args.h"
#include <sys/stat.h>

#define SESSION_TURN_MS 10000 /* that a command waits for its turn to write, unless --wait says */

enum session_mode {
    SESSION_READ,   /* read-only, waits for nobody unless asked */
    SESSION_WRITE,  /* an existing file */
    SESSION_MAY,    /* the same; for who may not write, or has no room to, SESSION_READ */
    SESSION_CREATE, /* a file, and the tree, that may be missing */
};

typedef struct cli_session {
    const cli_args *args;
    const char *file;
    enum session_mode mode;
    struct stat found; /* what the name led to before it was opened; st_nlink 0: not known */
    kv_db *db;
    kv_txn *txn;
    kv_tree *tree;
    kv_slice tree_name;  /* ptr NULL: the main tree */
    uint64_t expires_at; /* of the entry that a walk visits with its value; 0: never */
    bool multi;          /* the tree has several values for each key */
    bool new_multi;      /* a tree that is created shall have */
    bool gone;           /* the name leads to the file no more */
} cli_session;

/* Opens the file that args name, begins a transaction (to read: that of --at) and opens the tree of
 * --tree. 0, or the exit code after a message; then nothing is open. */
int session_open(cli_session *session, const cli_args *args, enum session_mode mode);

/* The same for a command that is about the one value of a key: refuses a tree of several, and gives it
 * the options that args have for it. */
int session_open_single(cli_session *session, const cli_args *args, enum session_mode mode);

/* The refusal alone. 0, or the exit code after a message. */
int session_need_single(const cli_session *session);

/* The refusal of options on expiry in a tree of several values for each key. The exit code. */
int session_no_expiry(const cli_args *args);

/* Can a file have pages of that many bytes? */
bool session_page_size_ok(uint64_t size);

/* session_open without transaction. */
int session_open_file(cli_session *session, const cli_args *args, enum session_mode mode);

/* Does the name lead to the file no more? Then there is nothing to wait for in it. Says so once. */
bool session_file_gone(cli_session *session);

/* Makes another tree the current one; a name with ptr NULL is the main tree. */
int session_select(cli_session *session, kv_slice name);

/* As kv_exists, also in a tree of several values for each key. */
int session_has(const cli_session *session, kv_slice key);

/* Gives the current tree the options that args have for it. */
int session_configure(cli_session *session);

/* Says that there is none of that name. Gives the exit code. */
int session_missing_snapshot(const cli_session *session, kv_slice name);

/* Commits. The session has no transaction then. */
int session_commit(cli_session *session);

/* After a change of one key: commits it when it was made, says why it was not otherwise. Gives the exit
 * code. */
int session_end_change(cli_session *session, int result, kv_slice key);

/* Milliseconds that the command waits for other writers. */
uint32_t session_patience(const cli_session *session);

/* The same for calls to which 0 means for ever. */
uint32_t session_patience_least(const cli_session *session);

/* Attempts again and again while somebody else writes, until patience_ms are over. */
int session_attempt(uint32_t patience_ms, int (*attempt)(void *context), void *context);

/* Begins a transaction with the tree that was current. */
int session_begin(cli_session *session);

/* Ends everything that is open, uncommitted changes are dropped. Gives code, or that of a
 * failure. */
int session_close(cli_session *session, int code);

/* Says what went wrong: doing (may be ""), the database's own sentence, advice. Gives the exit
 * code. */
int session_fail(const cli_session *session, int result, const char *doing, ...)
    __attribute__((format(printf, 3, 4)));

/* The same without an open database; sentence may be "". */
int session_explain(const char *file, int result, const char *doing, const char *sentence,
                    const char *advice);

#endif
