/* walk.h - the entries of a range, one after the other. */
#ifndef WALK_H
#define WALK_H

#include "session.h"

typedef void walk_each(void *context, kv_slice key, kv_slice value);

/* Calls each for every entry of the range that the options describe, until output fails. Without
 * values, value is empty and none is read; with them session->expires_at is that of the entry. Gives
 * an exit code. */
int walk_range(cli_session *session, bool values, walk_each *each, void *context);

#endif
