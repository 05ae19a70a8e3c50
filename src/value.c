/* value.c - see value.h. */
#include "value.h"
#include "codec.h"

/* ---- reading ---- */

static int value_broken(kv_txn *txn, const char *what)
{
    return kvi_fail(&txn->db->err, KV_ECORRUPT, "a value is damaged: %s", what);
}

/* Is this reference one to a private large value of this transaction, as birth 0 says? */
static bool large_private(const kv_txn *txn, const kvi_large *large)
{
    const kvi_dirty *dirty = &txn->db->dirty;
    return txn->write && kvi_dirty_knows(dirty, large->ptr.page) &&
           kvi_dirty_at(dirty, large->ptr.page)->len == large->stored_len;
}

/* The stored bytes of a large value, wherever they are. */
static int large_bytes(kv_txn *txn, const kvi_large *large, const uint8_t **bytes)
{
    kvi_ptr ptr = large->ptr;
    uint64_t checksum = large->checksum;
    if (ptr.birth == 0) {
        if (!large_private(txn, large))
            return value_broken(txn, "its reference makes no sense");
        const kvi_private *item = kvi_dirty_at(&txn->db->dirty, ptr.page);
        *bytes = kvi_dirty_bytes(&txn->db->dirty, ptr.page);
        if (*bytes)
            return KV_OK;
        ptr = item->sealed;
        checksum = item->checksum;
    }
    return kvi_file_large(&txn->view, ptr, large->stored_len, checksum, bytes);
}

static int value_expand(kv_txn *txn, unsigned codec, kvi_slice in, uint64_t raw_len,
                        kv_slice *value)
{
    uint8_t *bytes = NULL;
    if (!kvi_codec_plausible(codec, in.len, raw_len))
        return value_broken(txn, "an impossible length or an unknown codec");
    int rc = kvi_txn_lend(txn, raw_len, &bytes);
    if (rc != KV_OK)
        return rc;
    if (!kvi_codec_decompress(codec, in, bytes, (size_t)raw_len))
        return value_broken(txn, "it does not decompress");
    *value = (kv_slice){bytes, (size_t)raw_len};
    return KV_OK;
}

int kvi_value_load_special(kv_txn *txn, kvi_stored stored, kv_slice *value)
{
    kvi_entry entry;
    if (!kvi_entry_parse(stored, &entry))
        return value_broken(txn, "its entry makes no sense");
    kvi_slice bytes = entry.payload;
    if (entry.flags & KVI_ENTRY_LARGE) {
        int rc = large_bytes(txn, &entry.large, &bytes.ptr);
        if (rc != KV_OK)
            return rc;
        bytes.len = (size_t)entry.large.stored_len;
    }
    if (entry.flags & KVI_ENTRY_COMPRESSED)
        return value_expand(txn, entry.codec, bytes, entry.raw_len, value);
    *value = (kv_slice){bytes.ptr, bytes.len};
    return KV_OK;
}

/* ---- comparing ---- */

static bool stored_alike(kvi_stored a, kvi_stored b)
{
    return a.special == b.special && kvi_slice_compare(a.bytes, b.bytes) == 0;
}

/* Stored as they are, in runs of a snapshot: other checksums mean other bytes. */
static bool checksums_tell(const kvi_entry *a, const kvi_entry *b)
{
    return a->flags & b->flags & KVI_ENTRY_LARGE &&
           !((a->flags | b->flags) & KVI_ENTRY_COMPRESSED) && a->large.ptr.birth != 0 &&
           b->large.ptr.birth != 0 && a->large.checksum != b->large.checksum;
}

static int contents_same(kv_txn *a, kvi_stored of_a, kv_txn *b, kvi_stored of_b, bool *same)
{
    const kvi_loan *kept_a = a->loans, *kept_b = b->loans;
    kv_slice x, y;
    int rc = kvi_value_load(a, of_a, &x);
    if (rc == KV_OK)
        rc = kvi_value_load(b, of_b, &y);
    if (rc == KV_OK)
        *same = x.len == y.len && (x.len == 0 || memcmp(x.ptr, y.ptr, x.len) == 0);
    kvi_txn_unlend(b, kept_b);
    kvi_txn_unlend(a, kept_a);
    return rc;
}

int kvi_value_same(kv_txn *a, kvi_stored of_a, kv_txn *b, kvi_stored of_b, bool *same)
{
    kvi_entry x, y;
    *same = stored_alike(of_a, of_b);
    if (*same || (!of_a.special && !of_b.special))
        return KV_OK;
    if (!kvi_entry_parse(of_a, &x))
        return value_broken(a, "its entry makes no sense");
    if (!kvi_entry_parse(of_b, &y))
        return value_broken(b, "its entry makes no sense");
    if (x.raw_len != y.raw_len || checksums_tell(&x, &y))
        return KV_OK;
    return contents_same(a, of_a, b, of_b, same);
}

/* ---- old values ---- */

/* Pages that the transaction found in the file stay as they are until it ends; what it wrote there
 * itself may be replaced. */
bool kvi_value_stays(const kv_txn *txn, kv_slice value)
{
    const kvi_view *view = &txn->view;
    uint64_t size = view->limit << view->file->page_shift;
    return (!txn->wrote || KVI_MUTANT(OLD_VALUE_STAYS)) &&
           (uintptr_t)value.ptr - (uintptr_t)view->map < size;
}

int kvi_value_keep(kv_txn *txn, kv_slice *value)
{
    uint8_t *copy;
    if (kvi_value_stays(txn, *value))
        return KV_OK;
    int rc = kvi_txn_keep(txn, value->len, &copy);
    if (rc != KV_OK)
        return rc;
    memcpy(copy, value->ptr, value->len);
    value->ptr = copy;
    return KV_OK;
}

/* ---- making stored forms ---- */

static uint8_t *expiry_put(uint8_t *at, uint64_t expiry)
{
    if (expiry)
        kvi_put64(at, expiry);
    return at + (expiry ? 8 : 0);
}

static uint8_t *head_begin(kvi_prepared *prepared, uint8_t flags)
{
    uint8_t *at = prepared->head;
    *at++ = (uint8_t)(flags | (prepared->item.expiry ? KVI_ENTRY_EXPIRY : 0));
    if (flags & KVI_ENTRY_COMPRESSED)
        *at++ = KVI_CODEC_LZ4;
    return expiry_put(at, prepared->item.expiry);
}

/* Writes a large value straight to the file, since it would not fit the memory budget. */
static int large_write_through(kv_txn *txn, kvi_slice value, kvi_handle *handle)
{
    kv_db *db = txn->db;
    uint32_t page_size = db->file.page_size;
    uint64_t pages = kvi_large_pages(value.len, page_size), whole = value.len / page_size;
    kvi_pgno first;
    int rc = kvi_space_take_run(db->space, pages, &first);
    if (rc != KV_OK)
        return rc;
    kvi_txn_writes(txn);
    uint64_t at = first * page_size, split = whole * page_size;
    rc = kvi_file_write(&db->file, at, value.ptr, (size_t)split);
    if (rc == KV_OK && split < value.len) {
        memset(db->scratch, 0, page_size);
        memcpy(db->scratch, value.ptr + split, (size_t)(value.len - split));
        rc = kvi_file_write(&db->file, at + split, db->scratch, page_size);
    }
    if (rc != KV_OK)
        return kvi_txn_spoil(txn, rc);
    kvi_file_sync_ahead(&db->file, kvi_txn_waiting(txn), pages * page_size);
    txn->sealed.walk += pages * page_size;
    rc = kvi_dirty_written(&db->dirty, value.len, (kvi_ptr){first, txn->id},
                           kvi_hash_bytes(&db->file.hash, value.ptr, value.len), handle);
    return kvi_txn_spoil(txn, rc == KV_OK ? kvi_txn_look(txn) : rc);
}

static int large_keep(kv_txn *txn, kvi_slice value, kvi_handle *handle, uint8_t **place)
{
    kv_db *db = txn->db;
    if (value.ptr && value.len > db->memory_budget / 2)
        return large_write_through(txn, value, handle);
    int rc = kvi_dirty_large(&db->dirty, value.len, handle);
    if (rc != KV_OK)
        return rc;
    uint8_t *bytes = kvi_dirty_bytes(&db->dirty, *handle);
    if (value.ptr)
        memcpy(bytes, value.ptr, value.len);
    else
        memset(bytes, 0, value.len);
    *place = bytes;
    return KV_OK;
}

static int prepare_large(kv_tree *tree, kvi_slice stored, uint64_t raw_len, uint8_t flags,
                         kvi_prepared *prepared)
{
    kvi_handle handle;
    int rc = large_keep(tree->txn, stored, &handle, &prepared->place);
    if (rc != KV_OK)
        return rc;
    kvi_large large = {
        .ptr = {handle, 0},
        .pages = kvi_large_pages(stored.len, tree->txn->db->file.page_size),
        .stored_len = stored.len,
        .raw_len = raw_len,
    };
    uint8_t *ref = head_begin(prepared, flags | KVI_ENTRY_LARGE);
    kvi_large_put(ref, &large);
    prepared->pages = large.pages;
    prepared->handle = handle;
    prepared->item.special = true;
    prepared->item.value =
        kvi_slice_of(prepared->head, (size_t)(ref - prepared->head) + KVI_LARGE_REF_SIZE);
    return KV_OK;
}

/* Stores packed (compressed) bytes: in the leaf when they fit now, else as a large value. */
static int prepare_packed(kv_tree *tree, kvi_slice packed, uint64_t raw_len, size_t inline_room,
                          kvi_prepared *prepared)
{
    if (packed.len + KVI_STORED_HEADER_MAX > inline_room)
        return prepare_large(tree, packed, raw_len, KVI_ENTRY_COMPRESSED, prepared);
    uint8_t *start = prepared->owned; /* room for the head was left before the packed bytes */
    uint8_t *at = head_begin(prepared, KVI_ENTRY_COMPRESSED);
    kvi_put64(at, raw_len);
    size_t head = (size_t)(at + 8 - prepared->head);
    memmove(start + head, packed.ptr, packed.len);
    memcpy(start, prepared->head, head);
    prepared->item.special = true;
    prepared->item.value = kvi_slice_of(start, head + packed.len);
    return KV_OK;
}

/* Tries the tree's codec. KV_NOTFOUND: it saves no page. */
static int prepare_compressed(kv_tree *tree, kvi_slice value, size_t inline_room,
                              kvi_prepared *prepared)
{
    const kvi_os *os = tree->txn->db->os;
    uint32_t page_size = tree->txn->db->file.page_size;
    uint64_t from = tree->desc.compress_from;
    if (from == 0 || value.len < from || !value.ptr ||
        value.len > kvi_codec_input_max(KVI_CODEC_LZ4))
        return KV_NOTFOUND;
    size_t bound = kvi_codec_bound(KVI_CODEC_LZ4, value.len);
    prepared->owned = os->alloc(os, KVI_STORED_HEADER_MAX + bound);
    if (!prepared->owned)
        return KV_ENOMEM;
    uint8_t *out = prepared->owned + KVI_STORED_HEADER_MAX;
    size_t len = kvi_codec_compress(KVI_CODEC_LZ4, value, out, bound);
    bool fits = len && len + KVI_STORED_HEADER_MAX <= inline_room;
    if (!fits && (!len || kvi_large_pages(len, page_size) >= kvi_large_pages(value.len, page_size)))
        return KV_NOTFOUND;
    return prepare_packed(tree, kvi_slice_of(out, len), value.len, inline_room, prepared);
}

/* A copy, since the caller may pass a view of the very page that is about to change. */
static void prepare_plain(kvi_slice value, uint8_t *room, kvi_prepared *prepared)
{
    uint8_t *at = room;
    prepared->item.special = prepared->item.expiry != 0;
    if (prepared->item.special) {
        *at++ = KVI_ENTRY_EXPIRY;
        at = expiry_put(at, prepared->item.expiry);
    }
    if (value.ptr && value.len)
        memcpy(at, value.ptr, value.len);
    prepared->item.value =
        kvi_slice_of(value.ptr || !value.len ? room : NULL, (size_t)(at - room) + value.len);
}

int kvi_value_prepare(kv_tree *tree, kvi_slice key, kvi_slice value, uint64_t expiry,
                      kvi_prepared *prepared)
{
    kv_db *db = tree->txn->db;
    size_t inline_room = kvi_inline_max(db->file.page_size) - key.len;
    memset(prepared, 0, sizeof *prepared);
    prepared->item.key = key;
    prepared->item.expiry = expiry;
    if (value.len <= inline_room) {
        prepare_plain(value, db->scratch_value, prepared);
        return KV_OK;
    }
    int rc = prepare_compressed(tree, value, inline_room, prepared);
    if (rc == KV_NOTFOUND)
        rc = prepare_large(tree, value, value.len, 0, prepared);
    if (rc != KV_OK)
        kvi_value_done(tree->txn, prepared);
    return rc;
}

int kvi_value_prepare_expiry(kv_tree *tree, kvi_slice key, kvi_stored stored, uint64_t expiry,
                             kvi_prepared *prepared)
{
    kvi_entry entry;
    memset(prepared, 0, sizeof *prepared);
    prepared->item.key = key;
    prepared->item.expiry = expiry;
    if (!kvi_entry_parse(stored, &entry) ||
        key.len + stored.bytes.len + 9 > kvi_leaf_max(tree->txn->db->file.page_size))
        return value_broken(tree->txn, "its entry makes no sense");
    uint8_t *room = tree->txn->db->scratch_value, *at = room;
    uint8_t flags = (uint8_t)(entry.flags & ~KVI_ENTRY_EXPIRY);
    size_t skip = stored.special ? kvi_entry_ref_at(&entry) : 0; /* behind flags, codec, expiry */
    prepared->item.special = flags || expiry;
    if (prepared->item.special)
        *at++ = (uint8_t)(flags | (expiry ? KVI_ENTRY_EXPIRY : 0));
    if (flags & KVI_ENTRY_COMPRESSED)
        *at++ = entry.codec;
    at = expiry_put(at, expiry);
    if (stored.bytes.len > skip)
        memcpy(at, stored.bytes.ptr + skip, stored.bytes.len - skip);
    prepared->item.value = kvi_slice_of(room, (size_t)(at - room) + stored.bytes.len - skip);
    return KV_OK;
}

void kvi_value_done(kv_txn *txn, kvi_prepared *prepared)
{
    txn->db->os->free(txn->db->os, prepared->owned);
    prepared->owned = NULL;
}

bool kvi_value_there(const kv_txn *txn, const kvi_prepared *prepared)
{
    return prepared->pages == 0 || kvi_dirty_knows(&txn->db->dirty, prepared->handle);
}

void kvi_value_discard(kv_txn *txn, kvi_prepared *prepared)
{
    kvi_dirty *dirty = &txn->db->dirty;
    if (prepared->pages && kvi_value_there(txn, prepared)) {
        if (!kvi_dirty_bytes(dirty, prepared->handle))
            kvi_txn_spoil(txn, kvi_txn_drop_run(txn, kvi_dirty_at(dirty, prepared->handle)->sealed,
                                                prepared->pages));
        kvi_dirty_replace(dirty, prepared->handle);
    }
    kvi_value_done(txn, prepared);
}

/* ---- the end of a value ---- */

int kvi_value_drop(kv_tree *tree, kvi_stored stored)
{
    kv_txn *txn = tree->txn;
    kvi_entry entry;
    if (!stored.special)
        return KV_OK;
    if (!kvi_entry_parse(stored, &entry))
        return value_broken(txn, "its entry makes no sense");
    if (!(entry.flags & KVI_ENTRY_LARGE))
        return KV_OK;
    kvi_ptr ptr = entry.large.ptr;
    int rc = KV_OK;
    if (ptr.birth == 0) {
        if (!large_private(txn, &entry.large))
            return value_broken(txn, "its reference makes no sense");
        const kvi_private *item = kvi_dirty_at(&txn->db->dirty, ptr.page);
        if (!kvi_dirty_bytes(&txn->db->dirty, ptr.page))
            rc = kvi_txn_drop_run(txn, item->sealed, entry.large.pages);
        if (rc == KV_OK)
            kvi_dirty_replace(&txn->db->dirty, ptr.page);
    } else {
        rc = kvi_txn_drop_run(txn, ptr, entry.large.pages);
    }
    if (rc == KV_OK)
        tree->desc.large_pages -= entry.large.pages;
    return rc;
}

static int large_write(kv_txn *txn, kvi_private *item, uint8_t *bytes)
{
    kv_db *db = txn->db;
    uint32_t page_size = db->file.page_size;
    uint64_t pages = kvi_large_pages(item->len, page_size);
    kvi_pgno first;
    int rc = kvi_space_take_run(db->space, pages, &first);
    if (rc != KV_OK)
        return rc;
    kvi_txn_writes(txn);
    txn->sealed.walk += pages * page_size;
    memset(bytes + item->len, 0, (size_t)(pages * page_size - item->len));
    item->checksum = kvi_hash_bytes(&db->file.hash, bytes, (size_t)item->len);
    item->sealed = (kvi_ptr){first, txn->id};
    rc = kvi_file_write(&db->file, first * page_size, bytes, (size_t)(pages * page_size));
    if (rc == KV_OK)
        kvi_file_sync_ahead(&db->file, kvi_txn_waiting(txn), pages * page_size);
    return rc;
}

int kvi_value_seal(kv_txn *txn, uint8_t *stored, size_t len)
{
    kvi_entry entry;
    if (!kvi_entry_parse((kvi_stored){{stored, len}, true}, &entry))
        return value_broken(txn, "its entry makes no sense");
    if (!(entry.flags & KVI_ENTRY_LARGE) || entry.large.ptr.birth != 0)
        return KV_OK;
    if (!large_private(txn, &entry.large))
        return value_broken(txn, "its reference makes no sense");
    kvi_handle handle = entry.large.ptr.page;
    kvi_private *item = kvi_dirty_at(&txn->db->dirty, handle);
    uint8_t *bytes = kvi_dirty_bytes(&txn->db->dirty, handle);
    int rc = bytes ? large_write(txn, item, bytes) : KV_OK;
    if (rc != KV_OK)
        return rc;
    entry.large.ptr = item->sealed;
    entry.large.checksum = item->checksum;
    kvi_large_put(stored + kvi_entry_ref_at(&entry), &entry.large);
    kvi_dirty_seal(&txn->db->dirty, handle, item->sealed, item->checksum);
    return KV_OK;
}
