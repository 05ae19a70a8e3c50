/* sorted.h - the plainest ordered map there is, to compare trees with: a sorted array. */
#ifndef SORTED_H
#define SORTED_H

#include "kv.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct sorted {
    kv_pair *pairs; /* ascending; keys and values are the array's own */
    size_t n, cap;
} sorted;

/* Number of keys smaller than key; *found (may be NULL): the next one is key itself. */
size_t sorted_lower(const sorted *s, kv_slice key, bool *found);

void sorted_put(sorted *s, kv_slice key, kv_slice value);
bool sorted_del(sorted *s, kv_slice key); /* whether it was there */
void sorted_clear(sorted *s);             /* also frees everything */
void sorted_copy(sorted *to, const sorted *from);

/* Does the range (NULL: everything), its limit left aside, have this key? Word for word what kv.h
 * says. */
bool sorted_in_range(const kv_range *range, kv_slice key);

int sorted_compare(kv_slice a, kv_slice b);

#endif
