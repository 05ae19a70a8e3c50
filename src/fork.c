/* fork.c - see fork.h. */
#include "fork.h"

#define ALIVE_SIZE 65536 /* a page, whatever its size */

/* All open handles of this process. */
static pthread_mutex_t open_mutex = PTHREAD_MUTEX_INITIALIZER;
static kv_db *open_dbs;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_mutex_lock(&open_mutex);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&open_mutex);
}

/* Closing does not release a lock that the parent's descriptor still holds; unlocking would. */
static void in_child(void)
{
    for (kv_db *db = open_dbs; db; db = db->next_open) {
        *db->alive = 0;
        kvi_lock_abandon(&db->lock);
        kvi_lock_abandon(&db->side.lock);
    }
    open_dbs = NULL;
    pthread_mutex_unlock(&open_mutex);
}

static void watch_forks(void)
{
    pthread_atfork(before_fork, after_fork, in_child);
}

/* Before the program registers handlers of its own: those that come first are called last before a
 * fork, so that open_mutex is taken behind whatever mutexes they take. */
__attribute__((constructor)) static void watch_forks_first(void)
{
    pthread_once(&once, watch_forks);
}

int kvi_fork_watch(kv_db *db)
{
    const kvi_os *os = db->os;
    db->alive = os->reserve(os, ALIVE_SIZE);
    if (!db->alive)
        return KV_ENOMEM;
    os->advise(os, db->alive, ALIVE_SIZE, KVI_OS_WIPE_ON_FORK);
    *db->alive = 1;
    pthread_once(&once, watch_forks);
    pthread_mutex_lock(&open_mutex);
    db->next_open = open_dbs;
    open_dbs = db;
    pthread_mutex_unlock(&open_mutex);
    return KV_OK;
}

void kvi_fork_forget(kv_db *db)
{
    if (!db->alive)
        return;
    pthread_mutex_lock(&open_mutex);
    kv_db **at = &open_dbs;
    while (*at && *at != db)
        at = &(*at)->next_open;
    if (*at)
        *at = db->next_open;
    pthread_mutex_unlock(&open_mutex);
    db->os->release(db->os, db->alive, ALIVE_SIZE);
    db->alive = NULL;
}
