/* surgeon.h - a database file in memory, to be read and damaged on purpose, with checksums made
 * right again where a test wants the damage to be met behind them. */
#ifndef SURGEON_H
#define SURGEON_H

#include "hash.h"
#include "meta.h"
#include "node.h"
#include "value.h"

typedef struct surgeon {
    uint8_t *bytes; /* the file, owned */
    size_t size;
    uint32_t page_size;
    kvi_meta meta; /* of the newest commit */
    kvi_hash hash;
} surgeon;

/* Takes a copy of a cleanly closed database. Ends the program when the bytes are none. */
void surgeon_take(surgeon *s, const void *bytes, size_t size);
void surgeon_load(surgeon *s, const char *path);
void surgeon_save(const surgeon *s, const char *path);
void surgeon_free(surgeon *s);

static inline uint8_t *surgeon_page(const surgeon *s, kvi_pgno page)
{
    return s->bytes + page * s->page_size;
}

/* The page's checksum is made right; number and birth stay as they are. */
void surgeon_stamp(surgeon *s, kvi_pgno page);

/* Both slots get s->meta with a right checksum. */
void surgeon_put_meta(surgeon *s);

/* A slot's checksum is made right, whatever it holds. */
void surgeon_stamp_meta(surgeon *s, unsigned slot);

/* The first node of a tree on a level, on the way down its children number child. */
kvi_ptr surgeon_node(const surgeon *s, const kvi_tree_desc *desc, unsigned level, unsigned child);

/* The entry of a leaf with a value of this kind (all flags set); false: none. ref: where its
 * stored bytes stand. */
bool surgeon_entry(const surgeon *s, kvi_pgno leaf, uint8_t flags, uint8_t **stored,
                   kvi_entry *entry);

/* The same in any leaf of the tree. */
bool surgeon_find(const surgeon *s, const kvi_tree_desc *desc, uint8_t flags, kvi_pgno *leaf,
                  uint8_t **stored, kvi_entry *entry);

/* Descriptor number i of the catalog, and where its bytes stand in which leaf. */
uint8_t *surgeon_catalog(const surgeon *s, unsigned i, kvi_pgno *leaf, kvi_tree_desc *desc);

#endif
