/* cursor_ahead.c - what a reader's steps will need is asked for before, so that they do not wait for
 * memory one after the other; see cursor.h.
 *
 * Few steps may follow a jump, or all of them to the end. So first a few entries are asked for, then
 * twice as many, and at last, since it is a scan, whole leaves: of each some lines with every entry of the
 * one before it, since all at once are more than a processor keeps under way. */
#include "cursor.h"

#define AHEAD_FIRST 12u               /* entries */
#define AHEAD_SCAN  (3 * AHEAD_FIRST) /* so many asked for: it is a scan */
#define AHEAD_STEP  8u                /* in a scan: entries of a step to the leaf behind */
#define AHEAD_BYTES 256u              /* of an entry */
#define NEAR        16u               /* leaves: so far apart they still lie in order */

/* Asks for the n entries of a plain leaf that follow the one under the cursor. Inline, since a
 * compiler may leave out calls of a function that does nothing else. */
static inline __attribute__((always_inline)) void ask_entries(const kv_cursor *c, bool up,
                                                              unsigned n)
{
    const kvi_plain *plain = &c->plain;
    uint32_t len = KVI_MIN(plain->tail_len + plain->value_len, AHEAD_BYTES);
    unsigned slot = c->path.steps[c->path.depth - 1].slot;
    for (; n > 0; n--) {
        slot += up ? 1u : -1u;
        uint32_t at = kvi_plain_at(plain, slot);
        for (uint32_t line = 0; line < len; line += 64)
            __builtin_prefetch(plain->page + at + line);
    }
}

static bool steps_freely(const kv_cursor *c)
{
    return !c->txn->write && !kvi_tree_expires(c->tree);
}

/* As after the jump before: some, or only the one that it leads to. */
int kvi_cursor_wants(const kv_cursor *c)
{
    return c->asked > 0 && steps_freely(c) ? (int)AHEAD_FIRST : 0;
}

/* The leaf that comes next, and where it lies as a random load leaves it, the one after that: their
 * page tables are waited for, too. In the order of the file a processor looks ahead by itself. */
static void ask_leaf(kv_cursor *c, bool up)
{
    uint32_t len = kvi_txn_ahead_len(c->txn);
    uintptr_t here = (uintptr_t)kvi_path_leaf(&c->path)->page;
    uintptr_t beside = kvi_path_beside(c->tree, &c->path, up, 1);
    if (!beside)
        return;
    bool in_order = beside - here + NEAR * len <= 2 * NEAR * len;
    c->ahead = kvi_ahead_of(beside, len, up || !in_order);
    uintptr_t behind = in_order ? 0 : kvi_path_beside(c->tree, &c->path, up, 2);
    if (behind)
        __builtin_prefetch((const void *)behind);
}

/* Lines of the leaf behind this one with each entry, so that it is there in time. */
static uint32_t pace_of(kv_cursor *c, bool up)
{
    unsigned entries = kvi_node_count(kvi_path_leaf(&c->path)->page);
    if (!c->ahead.end)
        ask_leaf(c, up);
    return kvi_txn_ahead_len(c->txn) / 64 / entries + 1;
}

void kvi_cursor_expect(kv_cursor *c, bool up)
{
    const kvi_step *leaf = kvi_path_leaf(&c->path);
    unsigned inside = up ? c->high - leaf->slot - 1 : leaf->slot - c->low;
    if (!steps_freely(c) || inside == 0)
        return;
    bool scans = c->asked >= AHEAD_SCAN;
    unsigned n = KVI_MIN(inside, c->foreseen ? AHEAD_STEP : KVI_MAX(c->asked, AHEAD_FIRST));
    kvi_cursor_look(c);
    if (leaf->page == c->plain.page && !c->foreseen)
        ask_entries(c, up, n);
    if (scans)
        kvi_ahead_ask(&c->ahead, n * (size_t)pace_of(c, up));
    else if (n == inside)
        kvi_path_ahead(c->tree, &c->path, up);
    c->asked = KVI_MIN(c->asked + n, KVI_MAX(AHEAD_SCAN, 2 * n));
    c->near_low = KVI_MIN(c->near_low, up ? leaf->slot : leaf->slot - n);
    c->near_high = KVI_MAX(c->near_high, up ? leaf->slot + n + 1 : leaf->slot + 1);
}

void kvi_cursor_expect_run(kv_cursor *c, kvi_scan *scan, unsigned n, size_t more)
{
    if (c->txn->write)
        return;
    if (more > AHEAD_FIRST || c->asked >= AHEAD_SCAN)
        scan->pace = pace_of(c, scan->up);
    else if (more > 0)
        kvi_path_ahead(c->tree, &c->path, scan->up);
    scan->ahead = c->ahead;
    if (c->asked < AHEAD_SCAN && c->plain.page == kvi_path_leaf(&c->path)->page)
        ask_entries(c, scan->up, n);
    c->asked = KVI_MIN(c->asked + n, AHEAD_SCAN);
}

void kvi_cursor_crossed(kv_cursor *c)
{
    bool foreseen = c->ahead.end != 0;
    kvi_ahead_ask(&c->ahead, SIZE_MAX); /* what is left of the leaf reached */
    kvi_cursor_far(c);
    c->foreseen = foreseen;
}
