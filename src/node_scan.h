/* node_scan.h - reading many entries of one leaf: what they share is looked at once. */
#ifndef KVI_NODE_SCAN_H
#define KVI_NODE_SCAN_H

#include "node.h"
#include "kv.h"

/* Keys are copied in pieces of sixteen bytes: up to so many may be written behind a key. */
#define KVI_SCAN_SLACK 32

/* Entries of a leaf that stand next to each other, and where they go. */
typedef struct kvi_scan {
    unsigned from; /* slot of the first */
    unsigned n;    /* entries; all exist */
    bool up;       /* to higher slots, else to lower ones */
    kv_pair *pairs;
    uint8_t *keys; /* one after the other */
    size_t room;   /* bytes there */
    size_t used;   /* out: of those */
} kvi_scan;

/* Reads the entries until one is special, or room is less than kvi_key_max + KVI_SCAN_SLACK.
 * Returns how many. */
unsigned kvi_leaf_scan(const uint8_t *page, uint32_t page_size, kvi_scan *scan);

#endif
