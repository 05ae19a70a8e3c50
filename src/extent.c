/* extent.c - see extent.h. */
#include "extent.h"
#include "kv.h"

void kvi_extents_free(kvi_extents *list, const kvi_os *os)
{
    os->free(os, list->at);
    memset(list, 0, sizeof *list);
}

int kvi_extents_reserve(kvi_extents *list, const kvi_os *os, size_t more)
{
    if (list->n + more <= list->cap)
        return KV_OK;
    size_t cap = KVI_MAX(list->n + more, list->cap + list->cap / 2 + 8);
    kvi_extent *at = os->realloc(os, list->at, cap * sizeof *at);
    if (!at)
        return KV_ENOMEM;
    list->at = at;
    list->cap = cap;
    return KV_OK;
}

/* True when next continued last, which now covers both. */
static bool extent_join(kvi_extent *last, const kvi_extent *next)
{
    if (kvi_extent_end(last) != next->page || last->birth != next->birth ||
        last->death != next->death)
        return false;
    last->pages += next->pages;
    return true;
}

int kvi_extents_push(kvi_extents *list, const kvi_os *os, kvi_extent extent)
{
    if (list->n > 0 && extent_join(&list->at[list->n - 1], &extent))
        return KV_OK;
    int rc = kvi_extents_reserve(list, os, 1);
    if (rc == KV_OK)
        list->at[list->n++] = extent;
    return rc;
}

kvi_extent kvi_extents_pop(kvi_extents *list, uint64_t pages)
{
    kvi_extent *last = &list->at[list->n - 1];
    kvi_extent popped = *last;
    if (last->pages <= pages) {
        list->n--;
        return popped;
    }
    last->pages -= pages;
    popped.page = kvi_extent_end(last);
    popped.pages = pages;
    return popped;
}

static size_t sorted_until(const kvi_extents *list, size_t from)
{
    size_t to = from + 1;
    while (to < list->n && list->at[to - 1].page <= list->at[to].page)
        to++;
    return KVI_MIN(to, list->n);
}

static void merge(const kvi_extent *a, size_t n_a, const kvi_extent *b, size_t n_b, kvi_extent *out)
{
    while (n_a > 0 && n_b > 0) {
        if (a->page <= b->page) {
            *out++ = *a++;
            n_a--;
        } else {
            *out++ = *b++;
            n_b--;
        }
    }
    memcpy(out, n_a ? a : b, (n_a + n_b) * sizeof *out);
}

/* Merges pairs of ascending stretches, which lists of pages mostly consist of; true: one is
 * left. */
static bool merge_pass(kvi_extents *list, kvi_extent *out)
{
    size_t stretches = 0;
    for (size_t from = 0; from < list->n; stretches++) {
        size_t mid = sorted_until(list, from);
        size_t to = mid < list->n ? sorted_until(list, mid) : mid;
        merge(list->at + from, mid - from, list->at + mid, to - mid, out + from);
        from = to;
    }
    return stretches <= 1;
}

static void join_neighbours(kvi_extents *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->n; i++)
        if (kept == 0 || !extent_join(&list->at[kept - 1], &list->at[i]))
            list->at[kept++] = list->at[i];
    list->n = kept;
}

int kvi_extents_sort(kvi_extents *list, const kvi_os *os)
{
    if (list->n > 1 && sorted_until(list, 0) < list->n) {
        kvi_extents spare = {.n = list->n, .cap = list->n};
        spare.at = os->alloc(os, spare.cap * sizeof *spare.at);
        if (!spare.at)
            return KV_ENOMEM;
        for (bool done = false; !done;) {
            done = merge_pass(list, spare.at);
            kvi_extents swap = *list;
            *list = spare;
            spare = swap;
        }
        os->free(os, spare.at);
    }
    join_neighbours(list);
    return KV_OK;
}

int kvi_extents_subtract(const kvi_extents *list, const kvi_extents *minus, kvi_extents *out,
                         const kvi_os *os)
{
    int rc = KV_OK;
    for (size_t i = 0, m = 0; rc == KV_OK && i < list->n; i++) {
        kvi_extent rest = list->at[i];
        kvi_pgno end = kvi_extent_end(&rest);
        while (rc == KV_OK && rest.page < end) {
            while (m < minus->n && kvi_extent_end(&minus->at[m]) <= rest.page)
                m++;
            kvi_pgno stop = m < minus->n ? KVI_MIN(minus->at[m].page, end) : end;
            rest.pages = stop > rest.page ? stop - rest.page : 0;
            if (rest.pages)
                rc = kvi_extents_push(out, os, rest);
            rest.page = stop < end ? kvi_extent_end(&minus->at[m]) : end;
        }
    }
    return rc;
}
