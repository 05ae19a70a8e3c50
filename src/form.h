/* form.h - the form of a node: what a search needs to know to go through its arrays, in one number.
 *
 * It is found and checked once, when the page is verified or written, and kept beside the map (file.h).
 * A search then takes the places of the arrays from it, and need not ask whether they end inside the
 * page: whatever becomes of the page's bytes, the form leads nowhere else. What a search takes from the
 * page itself (where an entry stands, lengths that all entries share) it still has to check. */
#ifndef KVI_FORM_H
#define KVI_FORM_H

#include "format.h"

/* Bits: 0-7 stride of the hints (0: none), 8-12 bytes of the prefix, 13 heap (slots have bytes there), 14-25
 * slots, 26-30 level, 31 quick: the quick way (node_quick.h) can search it. */
typedef uint32_t kvi_form;

#define KVI_FORM_STRIDE_MAX 0xffu
#define KVI_FORM_FAR        31u /* bytes of the prefix or more: the page tells how many */
#define KVI_FORM_SLOTS_MAX  0xfffu
#define KVI_FORM_TOP        26 /* where the level begins */
#define KVI_FORM_QUICK      ((kvi_form)1 << 31)

_Static_assert(KVI_FORM_SLOTS_MAX / KVI_HINTS <= KVI_FORM_STRIDE_MAX, "strides fit");
_Static_assert(KVI_FORM_FAR > KVI_PREFIX_INLINE, "what a header has of a prefix fits");
_Static_assert(KVI_LEVEL_MAX < 32, "levels fit");

/* Of numbers that fit; not quick. */
KVI_INLINE kvi_form kvi_form_make(unsigned level, uint32_t slots, uint32_t stride, uint32_t prefix,
                                  bool heap)
{
    return stride | prefix << 8 | (kvi_form)heap << 13 | slots << 14 | level << KVI_FORM_TOP;
}

KVI_INLINE size_t kvi_form_stride(kvi_form form)
{
    return form & KVI_FORM_STRIDE_MAX;
}

KVI_INLINE uint32_t kvi_form_prefix(kvi_form form)
{
    return form >> 8 & 31;
}

KVI_INLINE size_t kvi_form_slots(kvi_form form)
{
    return form >> 14 & KVI_FORM_SLOTS_MAX;
}

KVI_INLINE bool kvi_form_quick(kvi_form form)
{
    return form >> 31;
}

KVI_INLINE uint32_t kvi_form_heads(bool hinted)
{
    return hinted ? KVI_HEADER_SIZE + KVI_HINT_LINE : KVI_HEADER_SIZE;
}

/* Where the children begin: behind heads and, if separators have bytes in the heap, their offsets. */
KVI_INLINE size_t kvi_form_children(kvi_form form, bool hinted)
{
    return kvi_form_heads(hinted) + (4 + 2 * (form >> 13 & 1)) * kvi_form_slots(form);
}

#endif
