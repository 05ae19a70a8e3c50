/* judge.h - is this page a node? A second opinion on kvi_node_validate, written from docs/format.md
 * alone: slow, and without any of its code. */
#ifndef JUDGE_H
#define JUDGE_H

#include "format.h"

/* 0, or the number of the first broken invariant, in the order in which kvi_node_validate looks:
 * type, places, then slot by slot length, order and padding, then sums, hints, children. */
int judge_node(const uint8_t *page, uint32_t page_size, kvi_pgno high_water, kvi_id newest);

#endif
