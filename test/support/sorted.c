/* sorted.c - see sorted.h. */
#include "sorted.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *sorted_memory(void *memory)
{
    if (!memory) {
        perror("sorted");
        exit(2);
    }
    return memory;
}

static kv_slice sorted_own(kv_slice bytes)
{
    uint8_t *copy = sorted_memory(malloc(bytes.len + 1));
    if (bytes.len)
        memcpy(copy, bytes.ptr, bytes.len);
    return (kv_slice){copy, bytes.len};
}

static void sorted_disown(kv_slice bytes)
{
    union {
        const void *in;
        void *out;
    } pun = {bytes.ptr};
    free(pun.out);
}

int sorted_compare(kv_slice a, kv_slice b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.ptr, b.ptr, len) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

size_t sorted_lower(const sorted *s, kv_slice key, bool *found)
{
    size_t low = 0, high = s->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (sorted_compare(s->pairs[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (found)
        *found = low < s->n && sorted_compare(s->pairs[low].key, key) == 0;
    return low;
}

void sorted_put(sorted *s, kv_slice key, kv_slice value)
{
    bool found;
    size_t at = sorted_lower(s, key, &found);
    kv_slice kept = sorted_own(value);
    if (found) {
        sorted_disown(s->pairs[at].value);
        s->pairs[at].value = kept;
        return;
    }
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 64;
        s->pairs = sorted_memory(realloc(s->pairs, s->cap * sizeof *s->pairs));
    }
    memmove(s->pairs + at + 1, s->pairs + at, (s->n - at) * sizeof *s->pairs);
    s->pairs[at] = (kv_pair){sorted_own(key), kept};
    s->n++;
}

bool sorted_del(sorted *s, kv_slice key)
{
    bool found;
    size_t at = sorted_lower(s, key, &found);
    if (!found)
        return false;
    sorted_disown(s->pairs[at].key);
    sorted_disown(s->pairs[at].value);
    s->n--;
    memmove(s->pairs + at, s->pairs + at + 1, (s->n - at) * sizeof *s->pairs);
    return true;
}

void sorted_clear(sorted *s)
{
    for (size_t i = 0; i < s->n; i++) {
        sorted_disown(s->pairs[i].key);
        sorted_disown(s->pairs[i].value);
    }
    free(s->pairs);
    *s = (sorted){0};
}

void sorted_copy(sorted *to, const sorted *from)
{
    to->n = to->cap = from->n;
    to->pairs = sorted_memory(malloc((from->n + 1) * sizeof *to->pairs));
    for (size_t i = 0; i < from->n; i++)
        to->pairs[i] = (kv_pair){sorted_own(from->pairs[i].key), sorted_own(from->pairs[i].value)};
}

bool sorted_in_range(const kv_range *range, kv_slice key)
{
    if (!range)
        return true;
    if (range->from) {
        int order = sorted_compare(key, (kv_slice){range->from, range->from_len});
        if (order < 0 || (order == 0 && (range->flags & KV_RANGE_FROM_OPEN)))
            return false;
    }
    if (range->to) {
        int order = sorted_compare(key, (kv_slice){range->to, range->to_len});
        if (order > 0 || (order == 0 && !(range->flags & KV_RANGE_TO_CLOSED)))
            return false;
    }
    return !range->prefix || range->prefix_len == 0 ||
           (key.len >= range->prefix_len && memcmp(key.ptr, range->prefix, range->prefix_len) == 0);
}
