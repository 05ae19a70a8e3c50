/* expired.h - entries that have expired and were not removed yet: counting past them.
 *
 * Tallies count them, so whoever asks for ranks and numbers subtracts them. Only leaves below which
 * the least expiry has come are visited. */
#ifndef KVI_EXPIRED_H
#define KVI_EXPIRED_H

#include "range.h"

/* How many expired entries lie between two places. */
int kvi_expired_between(kv_tree *tree, const kvi_place *lo, const kvi_place *hi,
                        uint64_t *n) KVI_MUST_CHECK;

/* To entry number n, counted from 0, of those that have not expired, from entry number first of the tree on.
 * Of what lies before that, nothing is visited. KV_NOTFOUND. */
int kvi_expired_nth(kv_tree *tree, kvi_path *path, uint64_t first, uint64_t n) KVI_MUST_CHECK;

#endif
