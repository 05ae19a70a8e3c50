/* order.h - entries by their number in a range: nth, percentiles, equal parts. */
#ifndef KVI_ORDER_H
#define KVI_ORDER_H

#include "range.h"

/* Entry number n of the range, from 0, in its direction and up to its limit. The key stands in memory
 * of the transaction until the next call. KV_NOTFOUND. */
int kvi_order_nth(kv_tree *tree, const kv_range *range, uint64_t n, kv_pair *pair) KVI_MUST_CHECK;

/* Number of the entry that a random number chooses among n, and that stands at a percentile. n > 0 */
uint64_t kvi_order_random(uint64_t n, uint64_t random);
uint64_t kvi_order_percentile(uint64_t n, double percent);

/* The keys at which a range falls into parts of equal size, ascending, into buf; *got tells how many.
 * KV_ETOOBIG: buf is too small. */
int kvi_order_split(kv_tree *tree, const kv_range *range, size_t parts, kv_slice *keys, void *buf,
                    size_t size, size_t *got) KVI_MUST_CHECK;

#endif
