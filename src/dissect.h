/* dissect.h - what each page of a file is: kv_inspect of kv.h, on any kvi_os. */
#ifndef KVI_DISSECT_H
#define KVI_DISSECT_H

#include "carve.h"

/* A tree of the newest commit, or all of a kind that only named snapshots lead to. */
typedef struct kvi_owner {
    uint32_t owner; /* enum kv_page_owner */
    bool past;      /* of snapshots; the name is empty */
    uint8_t *name;
    size_t name_len;
} kvi_owner;

struct kv_inspect {
    kvi_carve carve;
    kvi_pgno limit;      /* pages of the file or below the high-water mark */
    uint32_t *labels;    /* of each page: 1 + index of its owner, 0: none; NULL: not looked yet */
    kvi_pgno *first;     /* pages of large values: where they begin; else 0 */
    const char **broken; /* of each page: the invariant that the walk found broken; NULL: none */
    kvi_owner *owners;
    size_t n_owners, owners_cap;
    kvi_space *space; /* NULL: unknown */
    uint8_t *page;    /* buffer for one */
    uint8_t *key;     /* buffer for one */
    char reasons[2][160];
};

int kvi_dissect_open(const kvi_os *os, const char *path, kv_inspect **look, char *message,
                     size_t message_size) KVI_MUST_CHECK;
void kvi_dissect_close(kv_inspect *look);
void kvi_dissect_meta(kv_inspect *look, unsigned slot, kv_meta_info *info);
int kvi_dissect_choose(kv_inspect *look, unsigned slot, const char *dest) KVI_MUST_CHECK;
int kvi_dissect_page(kv_inspect *look, kvi_pgno page, kv_page_info *info) KVI_MUST_CHECK;
int kvi_dissect_slots(kv_inspect *look, kvi_pgno page,
                      int (*fn)(void *context, const kv_page_slot *slot),
                      void *context) KVI_MUST_CHECK;

#endif
