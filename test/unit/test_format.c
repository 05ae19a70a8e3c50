/* Holds docs/format.md against the sources: every field's offset, size and name, every constant, and
 * the dump of an example. The document is found through SRC, or below the working directory. */
#define XXH_STATIC_LINKING_ONLY
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "format.h"
#include "hash.h"
#include "lock.h"
#include "meta.h"
#include "node.h"
#include "scratch.h"
#include "side.h"
#include "txn.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* ---- what the sources say ---- */

typedef struct field {
    const char *name;
    unsigned offset, size;
} field;

/* A structure and the heading under which the document has its table. */
typedef struct layout {
    const char *heading;
    unsigned size;
    size_t n;
    const field *fields;
} layout;

#define FIELD(name, offset, size) {#name, offset, size},
static const field meta_fields[] = {KVI_META_FIELDS(FIELD)};
static const field tree_fields[] = {KVI_TREE_FIELDS(FIELD)};
static const field page_fields[] = {KVI_PAGE_FIELDS(FIELD)};
static const field large_fields[] = {KVI_LARGE_FIELDS(FIELD)};
static const field named_fields[] = {KVI_NAMED_FIELDS(FIELD)};
static const field log_fields[] = {KVI_LOG_FIELDS(FIELD)};
static const field blocked_fields[] = {KVI_BLOCKED_FIELDS(FIELD)};

/* The side file is made of structures; each member stands here, so that none can be added, removed
 * or moved without a difference. */
#define MEMBER(type, name)                                                                         \
    {                                                                                              \
#name, offsetof(type, name), sizeof(((type *)0)->name)                                     \
    }
static const field side_head_fields[] = {
    MEMBER(kvi_side_head, magic),       MEMBER(kvi_side_head, version),
    MEMBER(kvi_side_head, n_slots),     MEMBER(kvi_side_head, facts),
    MEMBER(kvi_side_head, next_handle), MEMBER(kvi_side_head, reserved),
    MEMBER(kvi_side_head, board),
};
static const field side_facts_fields[] = {
    MEMBER(kvi_side_facts, hash_seed),
    MEMBER(kvi_side_facts, file_id),
    MEMBER(kvi_side_facts, page_size),
    MEMBER(kvi_side_facts, reserved),
};
static const field board_fields[] = {
    MEMBER(kvi_board, counter),  MEMBER(kvi_board, durable), MEMBER(kvi_board, burnt),
    MEMBER(kvi_board, writing),  MEMBER(kvi_board, flush),   MEMBER(kvi_board, publications),
    MEMBER(kvi_board, waiting),  MEMBER(kvi_board, news),    MEMBER(kvi_board, awaited),
    MEMBER(kvi_board, reserved), MEMBER(kvi_board, record),
};
static const field record_fields[] = {
    MEMBER(kvi_record, snapshot),
    MEMBER(kvi_record, handover),
};
static const field snapshot_fields[] = {
    MEMBER(kvi_snapshot, id),         MEMBER(kvi_snapshot, durable),
    MEMBER(kvi_snapshot, high_water), MEMBER(kvi_snapshot, clock),
    MEMBER(kvi_snapshot, main),       MEMBER(kvi_snapshot, catalog),
    MEMBER(kvi_snapshot, snapshots),
};
static const field tree_record_fields[] = {
    MEMBER(kvi_tree_desc, root.page),     MEMBER(kvi_tree_desc, root.birth),
    MEMBER(kvi_tree_desc, level),         MEMBER(kvi_tree_desc, codec),
    MEMBER(kvi_tree_desc, flags),         MEMBER(kvi_tree_desc, reserved),
    MEMBER(kvi_tree_desc, entries),       MEMBER(kvi_tree_desc, leaf_pages),
    MEMBER(kvi_tree_desc, branch_pages),  MEMBER(kvi_tree_desc, large_pages),
    MEMBER(kvi_tree_desc, min_expiry),    MEMBER(kvi_tree_desc, sequence),
    MEMBER(kvi_tree_desc, compress_from), MEMBER(kvi_tree_desc, placed),
};
static const field handover_fields[] = {
    MEMBER(kvi_handover, next_id),    MEMBER(kvi_handover, durable_high_water),
    MEMBER(kvi_handover, tail_seal),  MEMBER(kvi_handover, tail_walk),
    MEMBER(kvi_handover, lazy_bytes), MEMBER(kvi_handover, shrunk),
    MEMBER(kvi_handover, publisher),  MEMBER(kvi_handover, durable_slot),
    MEMBER(kvi_handover, flags),
};
static const field slot_fields[] = {
    MEMBER(kvi_slot, owner),   MEMBER(kvi_slot, pin),      MEMBER(kvi_slot, since),
    MEMBER(kvi_slot, process), MEMBER(kvi_slot, reserved),
};

#define ROWS(fields) KVI_COUNT(fields), fields
static const layout layouts[] = {
    {"## 4. Meta", KVI_META_SIZE, ROWS(meta_fields)},
    {"## 5. Tree descriptor", KVI_TREE_SIZE, ROWS(tree_fields)},
    {"## 6. Page header", KVI_HEADER_SIZE, ROWS(page_fields)},
    {"### Reference to a large value", KVI_LARGE_REF_SIZE, ROWS(large_fields)},
    {"### Named snapshot", KVI_NAMED_SIZE, ROWS(named_fields)},
    {"### Log page", KVI_LOG_RECORDS, ROWS(log_fields)},
    {"### Chain of blocked pages", KVI_BLOCKED_RUNS, ROWS(blocked_fields)},
    {"### Head", sizeof(kvi_side_head), ROWS(side_head_fields)},
    {"### Facts", sizeof(kvi_side_facts), ROWS(side_facts_fields)},
    {"### Board", sizeof(kvi_board), ROWS(board_fields)},
    {"### Record", sizeof(kvi_record), ROWS(record_fields)},
    {"### Snapshot", sizeof(kvi_snapshot), ROWS(snapshot_fields)},
    {"### Tree descriptor in a snapshot", sizeof(kvi_tree_desc), ROWS(tree_record_fields)},
    {"### Handover", sizeof(kvi_handover), ROWS(handover_fields)},
    {"### Slot", sizeof(kvi_slot), ROWS(slot_fields)},
};

typedef struct constant {
    const char *name;
    uint64_t value;
} constant;

#define META_SEED 0x6b762d6d657461ull /* stands in hash.h; held against it below */

#define SAME(name) #name, name
static const constant constants[] = {
    {SAME(KVI_MAGIC)},
    {SAME(KVI_VERSION)},
    {"KVI_META_SEED", META_SEED},
    {SAME(KVI_PAGE_MIN)},
    {SAME(KVI_PAGE_MAX)},
    {SAME(KVI_PAGE_DEFAULT)},
    {SAME(KVI_META_SIZE)},
    {SAME(KVI_HEADER_SIZE)},
    {SAME(KVI_TREE_SIZE)},
    {SAME(KVI_NAMED_SIZE)},
    {SAME(KVI_LARGE_REF_SIZE)},
    {SAME(KVI_PTR_SIZE)},
    {SAME(KVI_DELTA_MAX)},
    {SAME(KVI_PREFIX_INLINE)},
    {SAME(KVI_HINTS)},
    {SAME(KVI_HINTS_FROM)},
    {SAME(KVI_HINT_LINE)},
    {SAME(KVI_LEVEL_MAX)},
    {SAME(KVI_MAP_LEVELS_MAX)},
    {SAME(KVI_LOG_RECORDS)},
    {SAME(KVI_BLOCKED_RUNS)},
    {SAME(KVI_LARGE_FROM)},
    {SAME(KVI_ID_MAX)},
    {SAME(KVI_PGNO_MAX)},
    {SAME(KVI_VARINT_MAX)},
    {SAME(KVI_WALK_CAP)},
    {SAME(KVI_ID_SKIP)},
    {SAME(KVI_KIND_DURABLE)},
    {SAME(KVI_KIND_STRICT)},
    {SAME(KVI_KIND_LAZY)},
    {SAME(KVI_KIND_CONFIRMATION)},
    {SAME(KVI_LEAF)},
    {SAME(KVI_BRANCH)},
    {SAME(KVI_LOG)},
    {SAME(KVI_MAP)},
    {SAME(KVI_MAP_DIR)},
    {SAME(KVI_BLOCKED)},
    {SAME(KVI_TREE_EXPIRY)},
    {SAME(KVI_NODE_EXPIRY)},
    {SAME(KVI_TREE_MULTI)},
    {SAME(KVI_ENTRY_LARGE)},
    {SAME(KVI_ENTRY_COMPRESSED)},
    {SAME(KVI_ENTRY_EXPIRY)},
    {SAME(KVI_CODEC_NONE)},
    {SAME(KVI_CODEC_LZ4)},
    {SAME(KVI_LOCK_LIFECYCLE)},
    {SAME(KVI_LOCK_GUESTS)},
    {SAME(KVI_LOCK_WRITER)},
    {SAME(KVI_LOCK_ALIASES)},
    {SAME(KVI_LOCK_PINS)},
    {SAME(KVI_LOCK_PINS_LEN)},
    {SAME(KVI_LOCK_GROWTH)},
    {SAME(KVI_LOCK_PRESENCE)},
    {SAME(KVI_SIDE_MAGIC)},
    {SAME(KVI_SIDE_VERSION)},
    {SAME(KVI_SIDE_HEAD)},
    {SAME(KVI_SLOTS_FIRST)},
    {SAME(KVI_SLOTS_MAX)},
    {SAME(KVI_FLUSH_NONE)},
    {SAME(KVI_FLUSH_BEGUN)},
    {SAME(KVI_FLUSH_FAILED)},
    {SAME(KVI_HANDOVER_SKIP)},
    {SAME(KVI_HANDOVER_UNPROVEN)},
};

/* ---- reading the document ---- */

#define FIELD_TABLE    "| offset | size | name |"
#define CONSTANT_TABLE "| constant | value |"
#define LIMIT_TABLE    "| page size | longest key | value in the leaf | entry in a leaf |"
#define MAP_TABLE      "| page size | pages of a bitmap page | pointers of a directory page |"
#define CELLS          4
#define CELL           96

/* Is this a constant or table that differs in the stress build? The document tells of the ordinary
 * one. */
static bool varies(const char *name)
{
#ifdef KVI_STRESS
    static const char *const names[] = {"KVI_PAGE_MIN", "KVI_WALK_CAP", "KVI_SLOTS_FIRST",
                                        MAP_TABLE};
    for (size_t i = 0; i < KVI_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
#else
    (void)name;
#endif
    return false;
}

typedef struct row {
    char cell[CELLS][CELL]; /* cut short where longer */
    size_t n;
} row;

static const char *next_line(const char *line)
{
    const char *end = strchr(line, '\n');
    return end ? end + 1 : line + strlen(line);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Takes a line "| a | b |" apart. False: it is no row. */
static bool row_read(const char *line, row *r)
{
    memset(r, 0, sizeof *r);
    if (*line != '|')
        return false;
    for (const char *at = line + 1; r->n < CELLS; r->n++) {
        size_t len = strcspn(at, "|\n");
        const char *end = at + len;
        if (*end != '|')
            break;
        at += strspn(at, " ");
        for (len = at < end ? (size_t)(end - at) : 0; len > 0 && at[len - 1] == ' ';)
            len--;
        memcpy(r->cell[r->n], at, KVI_MIN(len, (size_t)CELL - 1));
        at = end + 1;
    }
    return r->n > 0;
}

/* The first row of the table with this header that begins between from and to; NULL: none. */
static const char *table_find(const char *from, const char *to, const char *header)
{
    for (; *from && from < to; from = next_line(from))
        if (begins(from, header))
            return next_line(next_line(from)); /* behind the line of dashes */
    return NULL;
}

static const char *section_find(const char *doc, const char *heading)
{
    for (; *doc; doc = next_line(doc))
        if (begins(doc, heading) && doc[strlen(heading)] == '\n')
            return next_line(doc);
    return NULL;
}

static const char *section_end(const char *from)
{
    while (*from && *from != '#')
        from = next_line(from);
    return from;
}

/* "12", "0x1f", "2^60", "2^60 + 1". False: no number. */
static bool number_read(const char *text, uint64_t *value)
{
    *value = 0;
    for (;;) {
        char *end;
        uint64_t part = strtoull(text, &end, 0);
        if (end == text)
            return false;
        if (part == 2 && *end == '^') {
            uint64_t power = strtoull(end + 1, &end, 10);
            part = power < 64 ? (uint64_t)1 << power : 0;
        }
        *value += part;
        if (*end == 0)
            return true;
        if (!begins(end, " + "))
            return false;
        text = end + 3;
    }
}

/* ---- comparing; each returns false at the first difference, which *what then tells ---- */

static char what[256];

static bool differs(const char *where, const char *why)
{
    snprintf(what, sizeof what, "%s: %s", where, why);
    return false;
}

static bool cell_is(const row *r, size_t cell, uint64_t value)
{
    uint64_t number;
    return number_read(r->cell[cell], &number) && number == value;
}

/* The rows tile the structure: each field in turn, and what no field names. */
static bool layout_rows(const char *line, const layout *l)
{
    unsigned at = 0;
    row r;
    for (size_t i = 0; at < l->size; line = next_line(line)) {
        bool named = i < l->n && l->fields[i].offset == at;
        unsigned end = i < l->n ? l->fields[i].offset : l->size;
        unsigned size = named ? l->fields[i].size : end - at;
        const char *name = named ? l->fields[i].name : at == 0 ? "(header)" : "(zero)";
        if (!row_read(line, &r))
            return differs(l->heading, "a row is missing");
        if (!cell_is(&r, 0, at) || !cell_is(&r, 1, size) || strcmp(r.cell[2], name) != 0)
            return differs(l->heading, r.cell[2]);
        at += size;
        i += named;
    }
    return row_read(line, &r) ? differs(l->heading, "a row too many") : true;
}

static bool layout_same(const char *doc, const layout *l)
{
    const char *from = section_find(doc, l->heading);
    const char *to = from ? section_end(from) : NULL;
    const char *line = from ? table_find(from, to, FIELD_TABLE) : NULL;
    if (!line)
        return differs(l->heading, "no table");
    if (table_find(line, to, FIELD_TABLE))
        return differs(l->heading, "two tables");
    return layout_rows(line, l);
}

/* Every table of fields belongs to a layout. */
static bool layouts_same(const char *doc)
{
    size_t tables = 0;
    for (const char *line = doc; *line; line = next_line(line))
        tables += begins(line, FIELD_TABLE);
    if (tables != KVI_COUNT(layouts))
        return differs(FIELD_TABLE, "there are tables that no structure has");
    for (size_t i = 0; i < KVI_COUNT(layouts); i++)
        if (!layout_same(doc, &layouts[i]))
            return false;
    return true;
}

static bool constant_same(const row *r, unsigned *met)
{
    for (size_t i = 0; i < KVI_COUNT(constants); i++) {
        if (strcmp(r->cell[0], constants[i].name) != 0)
            continue;
        if (met[i]++)
            return differs(r->cell[0], "occurs twice");
        return varies(r->cell[0]) || cell_is(r, 1, constants[i].value) ||
               differs(r->cell[0], "another value");
    }
    return differs(r->cell[0], "is not known");
}

static bool constants_same(const char *doc)
{
    unsigned met[KVI_COUNT(constants)] = {0};
    const char *end = doc + strlen(doc);
    for (const char *line = doc; (line = table_find(line, end, CONSTANT_TABLE)) != NULL;) {
        row r;
        for (; row_read(line, &r); line = next_line(line))
            if (!constant_same(&r, met))
                return false;
    }
    for (size_t i = 0; i < KVI_COUNT(constants); i++)
        if (!met[i])
            return differs(constants[i].name, "is missing");
    return true;
}

/* A table with a row for each page size. */
static bool sizes_same(const char *doc, const char *header, size_t n,
                       uint32_t (*const limit[])(uint32_t page_size))
{
    const char *line = table_find(doc, doc + strlen(doc), header);
    row r;
    if (!line)
        return differs(header, "no table");
    for (uint32_t size = 4096; size <= KVI_PAGE_MAX; size *= 2, line = next_line(line)) {
        bool same = row_read(line, &r) && cell_is(&r, 0, size);
        for (size_t i = 0; same && i < n; i++)
            same = cell_is(&r, i + 1, limit[i](size));
        if (!same)
            return differs(header, r.cell[0]);
    }
    return row_read(line, &r) ? differs(header, "a row too many") : true;
}

static bool limits_same(const char *doc)
{
    static uint32_t (*const limits[])(uint32_t) = {kvi_key_max, kvi_inline_max, kvi_leaf_max};
    static uint32_t (*const map[])(uint32_t) = {kvi_map_pages, kvi_map_fanout};
    return sizes_same(doc, LIMIT_TABLE, 3, limits) &&
           (varies(MAP_TABLE) || sizes_same(doc, MAP_TABLE, 2, map));
}

static bool document_same(const char *doc)
{
    return layouts_same(doc) && constants_same(doc) && limits_same(doc);
}

/* ---- the document ---- */

static char *document_read(void)
{
    char path[4096];
    const char *root = getenv("SRC");
    snprintf(path, sizeof path, "%s%sdocs/format.md", root ? root : "", root ? "/" : "");
    FILE *in = fopen(path, "rb");
    if (!in)
        fail_msg("%s cannot be read", path);
    size_t size = 1 << 20;
    char *doc = malloc(size);
    assert_non_null(doc);
    size_t len = fread(doc, 1, size, in);
    fclose(in);
    assert_true(len > 0 && len < size);
    doc[len] = 0;
    return doc;
}

static int document_setup(void **state)
{
    *state = document_read();
    return 0;
}

static int document_teardown(void **state)
{
    free(*state);
    return 0;
}

/* ---- tests ---- */

static void fields_lie_apart_inside_their_structure(void **state)
{
    for (size_t i = 0; i < KVI_COUNT(layouts); i++) {
        const layout *l = &layouts[i];
        unsigned end = 0;
        for (size_t k = 0; k < l->n; k++) {
            assert_true(l->fields[k].size > 0);
            assert_true(l->fields[k].offset >= end);
            end = l->fields[k].offset + l->fields[k].size;
        }
        assert_true(end <= l->size);
    }
}

static void tables_of_fields_are_those_of_the_sources(void **state)
{
    if (!layouts_same(*state))
        fail_msg("%s", what);
}

static void constants_are_those_of_the_sources(void **state)
{
    if (!constants_same(*state))
        fail_msg("%s", what);
}

static void limits_are_those_of_the_sources(void **state)
{
    if (!limits_same(*state))
        fail_msg("%s", what);
}

/* The document with the len bytes at its place at replaced by text. */
static char *edited(const char *doc, const char *at, size_t len, const char *text)
{
    size_t size = strlen(doc) + strlen(text) + 1, before = (size_t)(at - doc);
    char *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, doc, before);
    snprintf(copy + before, size - before, "%s%s", text, at + len);
    return copy;
}

static void expect_noticed(const char *doc, const char *at, size_t len, const char *text)
{
    char *copy = edited(doc, at, len, text);
    if (document_same(copy))
        fail_msg("not noticed: \"%.60s\" where there was \"%.60s\"", text, at);
    free(copy);
}

/* The row at line is taken out, doubled, and changed in each of the cells that are compared. */
static unsigned row_tortured(const char *doc, const char *line, size_t cells)
{
    char text[512];
    size_t len = (size_t)(next_line(line) - line);
    const char *cell = line + 2;
    assert_true(2 * len < sizeof text);
    expect_noticed(doc, line, len, "");
    snprintf(text, sizeof text, "%.*s%.*s", (int)len, line, (int)len, line);
    expect_noticed(doc, line, len, text);
    for (size_t i = 0; i < cells; i++) {
        size_t last = strcspn(cell, "|") - 2; /* before the blank */
        char other[2] = {cell[last] == '7' ? '5' : '7', 0};
        expect_noticed(doc, cell + last, 1, other);
        expect_noticed(doc, cell, 0, "1");
        cell += last + 4;
    }
    return 1;
}

/* Tortures the rows of a table; those of values that vary between builds are left alone. */
static unsigned table_tortured(const char *doc, const char *line, size_t cells)
{
    unsigned n = 0;
    for (row r; row_read(line, &r); line = next_line(line))
        n += varies(r.cell[0]) ? 0 : row_tortured(doc, line, cells);
    return n;
}

static void each_alteration_of_a_row_is_noticed(void **state)
{
    static const struct {
        const char *header;
        size_t cells;
    } kinds[] = {{FIELD_TABLE, 3}, {CONSTANT_TABLE, 2}, {LIMIT_TABLE, 4}, {MAP_TABLE, 3}};
    const char *doc = *state, *end = doc + strlen(doc);
    unsigned n = 0;
    for (size_t i = 0; i < KVI_COUNT(kinds); i++)
        for (const char *at = doc; (at = table_find(at, end, kinds[i].header)) != NULL;)
            n += varies(kinds[i].header) ? 0 : table_tortured(doc, at, kinds[i].cells);
    assert_true(n > 100);
}

static void checksums_are_made_as_described(void **state)
{
    uint8_t secret[192], page[4096], block[KVI_META_SIZE];
    kvi_meta meta = {.page_size = 4096, .hash_seed = 0x0123456789abcdef, .id = 7};
    kvi_meta_encode(&meta, block);
    assert_int_equal(kvi_get64(block + 8), XXH3_64bits_withSeed(block + 16, 4080, META_SEED));

    kvi_hash hash;
    kvi_hash_init(&hash, meta.hash_seed);
    XXH3_generateSecret_fromSeed(secret, meta.hash_seed);
    for (size_t i = 0; i < sizeof page; i++)
        page[i] = (uint8_t)(i * i);
    assert_int_equal(kvi_hash_bytes(&hash, page + 8, 4088),
                     XXH3_64bits_withSecret(page + 8, 4088, secret, sizeof secret));
}

/* ---- the example ---- */

/* What kv does for "kv put FILE KEY VALUE --tree TREE", a NULL tree being the main one. */
static void put(const char *path, const char *tree_name, const char *key, const char *value)
{
    kv_options options = {.size = sizeof options, .flags = KV_OPEN_CREATE, .page_size = 4096};
    kv_db *db;
    kv_txn *txn;
    assert_int_equal(kv_db_open(path, &options, &db), KV_OK);
    assert_int_equal(kv_txn_begin(db, KV_TXN_WRITE, &txn), KV_OK);
    kv_tree *tree = kv_txn_main(txn);
    if (tree_name)
        assert_int_equal(
            kv_tree_open(txn, tree_name, strlen(tree_name), KV_TREE_CREATE, NULL, &tree), KV_OK);
    assert_int_equal(kv_put(tree, key, strlen(key), value, strlen(value), 0), KV_OK);
    assert_int_equal(kv_txn_commit(txn), KV_OK);
    assert_int_equal(kv_db_close(db), KV_OK);
}

static size_t example_make(uint8_t *bytes, size_t room)
{
    scratch s;
    scratch_make(&s);
    const char *path = scratch_path(&s, "example.kv");
    put(path, NULL, "apple", "red");
    put(path, NULL, "apricot", "orange");
    put(path, "colours", "red", "ff0000");
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    size_t size = fread(bytes, 1, room, in);
    fclose(in);
    scratch_remove(&s);
    return size;
}

/* Sixteen bytes of a dump, two dots standing for any byte. */
static void expect_bytes(const uint8_t *bytes, size_t offset, const char *dump)
{
    for (size_t i = 0; i < 16; i++) {
        const char *cell = dump + 3 * i + (i >= 8);
        char shown[3];
        snprintf(shown, sizeof shown, "%02x", bytes[offset + i]);
        if (!begins(cell, "..") && !begins(cell, shown))
            fail_msg("byte %zx is %s, not %.2s", offset + i, shown, cell);
    }
}

static void example_is_what_kv_writes(void **state)
{
    static uint8_t bytes[65536];
    size_t size = example_make(bytes, sizeof bytes), at = 0;
    const char *dump = NULL; /* the newest line's bytes */
    const char *line = section_find(*state, "## 15. A file, byte by byte");
    assert_non_null(line);
    for (; *line; line = next_line(line)) {
        char *end;
        size_t offset = strtoul(line, &end, 16);
        if (!begins(line, "    ") || end != line + 12)
            continue;
        assert_true(offset >= at && offset <= size && (dump || offset == 0));
        for (; at < offset; at += 16) /* a line of "*" */
            expect_bytes(bytes, at, dump);
        if (*end == '\n')
            break;
        dump = end + 2;
        expect_bytes(bytes, at, dump);
        at += 16;
    }
    assert_int_equal(at, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_lie_apart_inside_their_structure),
        cmocka_unit_test(tables_of_fields_are_those_of_the_sources),
        cmocka_unit_test(constants_are_those_of_the_sources),
        cmocka_unit_test(limits_are_those_of_the_sources),
        cmocka_unit_test(each_alteration_of_a_row_is_noticed),
        cmocka_unit_test(checksums_are_made_as_described),
        cmocka_unit_test(example_is_what_kv_writes),
    };
    return cmocka_run_group_tests(tests, document_setup, document_teardown);
}
