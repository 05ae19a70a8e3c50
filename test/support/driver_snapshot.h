/* driver_snapshot.h - named snapshots, made, opened, dropped and restored by the database and by the
 * model at once. */
#ifndef DRIVER_SNAPSHOT_H
#define DRIVER_SNAPSHOT_H

#include "driver.h"

/* Does one of these, at random. *kind: the durability of the commit, if there is one, as for
 * kv_txn_begin; becomes that which it had. True: all was as the model says, which remembers the
 * commit. False: it failed (d->failure) or differed (0), and the model is as before; after
 * KV_EPOISONED, when nobody knows, *unknown is the state that may be found later, the caller's to
 * release. */
bool driver_snapshot(driver *d, uint32_t *kind, model_state **unknown);

/* Compares the list of snapshots, and each whole, with those of the state. NULL, or what differs. */
const char *driver_snapshots(kv_db *db, const model_state *state);

#endif
