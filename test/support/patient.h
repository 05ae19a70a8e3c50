/* patient.h - database files whose every entry is known, to be damaged and salvaged, and the judgement of
 * what comes of it.
 *
 * The oracle is the sound file: each of its entries is either in its tree of the new database, or in a
 * found tree, or among the reported losses. What differs fails the running test. */
#ifndef PATIENT_H
#define PATIENT_H

#include "kv.h"
#include "os.h"
#include "rng.h"
#include "scratch.h"
#include "surgeon.h"

#define PATIENT_TREES 8
#define TOLD_LOSSES   4096

/* A folder of the program's own. */
extern scratch patient_dir;
extern char patient_path[SCRATCH_MAX]; /* the file */
extern char saved_path[SCRATCH_MAX];   /* the new database that salvage makes of it */

void patient_folder_make(void);
void patient_folder_remove(void);

/* ---- the sound file and what is in it ---- */

typedef struct patient_entry {
    unsigned tree;
    uint8_t *key, *value;
    size_t key_len, value_len;
    uint64_t leaf, large, large_pages; /* the pages where it lives */
} patient_entry;

typedef struct patient {
    surgeon file;
    char trees[PATIENT_TREES][32]; /* the main tree is "" */
    unsigned n_trees;
    patient_entry *entries;
    size_t n, cap;
} patient;

/* A database of what make puts into it, written at patient_path. p: zeros. */
void patient_make(patient *p, uint32_t page_size, void (*make)(kv_db *db));
void patient_free(patient *p);

/* How many entries live on this leaf. */
size_t patient_living(const patient *p, uint64_t page);

/* For patient_make. "twin" has keys like those of the main tree; "words" others; "packed" and "large" have
 * values outside their leaves. Changes leave old versions behind. */
void patient_small(kv_db *db);

/* The same with named snapshots, whose versions of what was changed later lie in the file, too. */
void patient_kept(kv_db *db);

/* Has branches on two levels. */
void patient_tall(kv_db *db);

/* What these are made with. A key is a number in printf's form; fill puts entries 0, 1, ... with random
 * values of this length. */
kv_txn *patient_begin(kv_db *db);
kv_tree *patient_create(kv_txn *txn, const char *name, uint64_t compress_from);
void patient_put(kv_tree *tree, const char *form, unsigned number, const void *value, size_t len);
void patient_fill(kv_tree *tree, const char *form, unsigned entries, size_t len, rng *random);

/* The main tree for "", else a named one; NULL: there is none. */
kv_tree *patient_tree(kv_txn *txn, const char *name);

/* ---- damage ---- */

enum harm { HARM_HEADER, HARM_MIDDLE, HARM_CHECKSUM, HARM_WIPED, HARMS };

void patient_damage(surgeon *s, uint64_t page, enum harm harm);

/* Nobody knows any more which pages are in use. */
void patient_lose_space(surgeon *s);

/* ---- what salvage says ---- */

typedef struct told_loss {
    uint32_t kind, after;
    char tree[32];
    uint8_t *from, *to;
    size_t from_len, to_len;
    uint64_t entries, found;
} told_loss;

typedef struct told {
    told_loss losses[TOLD_LOSSES];
    size_t n;
    uint64_t lost; /* of trees whose size is known */
    uint64_t entries;
    unsigned found, unknown; /* trees; others whose losses may be more */
    kv_salvage_info info;
    char notes[4096];
} told;

extern told said; /* by the last salvage */

/* Salvages this file, written at patient_path, with kvi_salvage's result. Without flushes, for there are
 * many files. */
int patient_salvage(const surgeon *s, kv_salvage_info *info);
int patient_salvage_on(kvi_os *os, const surgeon *s, kv_salvage_info *info);

/* Is the entry among what this loss means? */
bool told_covers(const told_loss *loss, const patient *p, const patient_entry *e);

/* Is it one of a tree without a name? */
bool told_of_found(const told_loss *loss);

/* ---- the new database ---- */

/* All is as it should be with damage to these n pages. Returns how many entries are nowhere. */
size_t saved_check(const patient *p, const uint64_t *pages, size_t n);

/* All that lives below this page is there, in its own tree, or in a found one if that will do. Old
 * versions may have been found beside. */
void saved_check_there(const patient *p, uint64_t below, bool found_will_do);

/* What is not in its tree was reported. */
void saved_check_told(const patient *p);

void saved_check_sound(void);

/* How many entries of a tree are not the sound file's. */
size_t saved_strangers(const patient *p, const char *name);

/* Entries of a tree, or UINT64_MAX: there is no such tree. */
uint64_t saved_entries(const char *name);
bool saved_has(const char *name, const void *key, size_t len);

/* Damages n pages, salvages, which must go well, and checks; *gone is what saved_check returned. */
void patient_salvage_damaged(const patient *p, const uint64_t *pages, size_t n, enum harm harm,
                             size_t *gone);

#endif
