/* surgeon.c - see surgeon.h. */
#include "surgeon.h"
#include <stdio.h>
#include <stdlib.h>

static _Noreturn void give_up(const char *what)
{
    fprintf(stderr, "surgeon: %s\n", what);
    exit(1);
}

static uint8_t *slot_at(const surgeon *s, unsigned slot)
{
    return s->bytes + slot * kvi_meta_stride(s->page_size);
}

void surgeon_take(surgeon *s, const void *bytes, size_t size)
{
    kvi_meta other;
    s->bytes = malloc(size);
    if (!s->bytes)
        give_up("no memory");
    memcpy(s->bytes, bytes, size);
    s->size = size;
    if (size < 2 * KVI_META_SIZE || kvi_meta_decode(s->bytes, &s->meta) != KVI_META_VALID)
        give_up("no database");
    s->page_size = s->meta.page_size;
    if (kvi_meta_decode(slot_at(s, 1), &other) == KVI_META_VALID && other.id > s->meta.id)
        s->meta = other;
    kvi_hash_init(&s->hash, s->meta.hash_seed);
}

void surgeon_load(surgeon *s, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        give_up("cannot open the file");
    size_t size = (size_t)ftell(file);
    uint8_t *bytes = malloc(size + 1);
    rewind(file);
    if (!bytes || fread(bytes, 1, size, file) != size)
        give_up("cannot read the file");
    fclose(file);
    surgeon_take(s, bytes, size);
    free(bytes);
}

void surgeon_save(const surgeon *s, const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(s->bytes, 1, s->size, file) != s->size || fclose(file) != 0)
        give_up("cannot write the file");
}

void surgeon_free(surgeon *s)
{
    free(s->bytes);
    s->bytes = NULL;
}

void surgeon_stamp(surgeon *s, kvi_pgno page)
{
    uint8_t *at = surgeon_page(s, page);
    kvi_put64(at + KVI_P_checksum, kvi_hash_bytes(&s->hash, at + 8, s->page_size - 8));
}

void surgeon_put_meta(surgeon *s)
{
    kvi_meta_encode(&s->meta, slot_at(s, 0));
    kvi_meta_encode(&s->meta, slot_at(s, 1));
}

void surgeon_stamp_meta(surgeon *s, unsigned slot)
{
    uint8_t *at = slot_at(s, slot);
    kvi_put64(at + KVI_M_checksum,
              kvi_hash_meta(at + KVI_M_version, KVI_META_SIZE - KVI_M_version));
}

kvi_ptr surgeon_node(const surgeon *s, const kvi_tree_desc *desc, unsigned level, unsigned child)
{
    kvi_ptr ptr = desc->root;
    for (unsigned at = desc->level; at > level; at--) {
        const uint8_t *page = surgeon_page(s, ptr.page);
        if (page[KVI_P_type] != KVI_BRANCH || page[KVI_P_level] != at)
            give_up("a damaged page is on the way to the node");
        ptr = kvi_branch_child(page, s->page_size, KVI_MIN(child, kvi_node_count(page)));
    }
    return ptr;
}

static uint8_t *in_place(const surgeon *s, kvi_slice slice)
{
    return s->bytes + (slice.ptr - s->bytes);
}

bool surgeon_entry(const surgeon *s, kvi_pgno leaf, uint8_t flags, uint8_t **stored,
                   kvi_entry *entry)
{
    const uint8_t *page = surgeon_page(s, leaf);
    for (unsigned i = 0; i < kvi_node_count(page); i++) {
        kvi_stored value;
        value.bytes = kvi_leaf_value(page, s->page_size, i, &value.special);
        if (!value.special || !kvi_entry_parse(value, entry) || entry->flags != flags)
            continue;
        *stored = in_place(s, value.bytes);
        return true;
    }
    return false;
}

static bool find_below(const surgeon *s, kvi_ptr ptr, unsigned level, uint8_t flags, kvi_pgno *leaf,
                       uint8_t **stored, kvi_entry *entry)
{
    const uint8_t *page = surgeon_page(s, ptr.page);
    *leaf = ptr.page;
    if (level == 0)
        return surgeon_entry(s, ptr.page, flags, stored, entry);
    for (unsigned i = 0; i <= kvi_node_count(page); i++)
        if (find_below(s, kvi_branch_child(page, s->page_size, i), level - 1, flags, leaf, stored,
                       entry))
            return true;
    return false;
}

bool surgeon_find(const surgeon *s, const kvi_tree_desc *desc, uint8_t flags, kvi_pgno *leaf,
                  uint8_t **stored, kvi_entry *entry)
{
    return desc->root.page != 0 &&
           find_below(s, desc->root, desc->level, flags, leaf, stored, entry);
}

uint8_t *surgeon_catalog(const surgeon *s, unsigned i, kvi_pgno *leaf, kvi_tree_desc *desc)
{
    bool special;
    *leaf = surgeon_node(s, &s->meta.catalog, 0, 0).page;
    kvi_slice value = kvi_leaf_value(surgeon_page(s, *leaf), s->page_size, i, &special);
    if (special || value.len != KVI_TREE_SIZE ||
        !kvi_tree_desc_decode(value.ptr, s->page_size, s->meta.high_water, s->meta.id, desc))
        give_up("no such tree in the catalog");
    return in_place(s, value);
}
