/* form.h - the form of a node: what a search needs to know to go through its arrays, in one number.
 *
 * It is found and checked once, when the page is verified or written, and kept beside the map (file.h).
 * A search then asks neither the page's header nor whether arrays end inside the page: whatever
 * becomes of its bytes, the numbers of its form lead nowhere else. */
#ifndef KVI_FORM_H
#define KVI_FORM_H

#include "format.h"
#include "lanes.h"

/* Bits: 0-7 stride of the hints (0: none), 8-12 bytes of the prefix (FAR: more than a header has), 13
 * heap, 14-25 slots, 26-30 level, 31 quick: the quick way (node_quick.h) can search it. */
typedef uint32_t kvi_form;

#define KVI_FORM_STRIDE_MAX 0xffu
#define KVI_FORM_FAR        31u
#define KVI_FORM_SLOTS_MAX  0xfffu
#define KVI_FORM_TOP        26 /* where the level begins */
#define KVI_FORM_QUICK      ((kvi_form)1 << 31)

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

KVI_INLINE size_t kvi_form_heads(bool hinted)
{
    return hinted ? KVI_HEADER_SIZE + KVI_HINT_LINE : KVI_HEADER_SIZE;
}

/* Where the children begin: behind heads and, if separators have bytes in the heap, their offsets. */
KVI_INLINE size_t kvi_form_children(kvi_form form, bool hinted)
{
    return kvi_form_heads(hinted) + (4 + (form >> 12 & 2)) * kvi_form_slots(form);
}

#endif
