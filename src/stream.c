/* stream.c - see stream.h. */
#include "stream.h"

int kvi_stream_open(kvi_stream *stream)
{
    kvi_hash_init(&stream->hash, KVI_STREAM_SEED);
    stream->block = stream->os->alloc(stream->os, KVI_STREAM_HEAD + KVI_STREAM_BLOCK);
    return stream->block ? KV_OK : kvi_fail(stream->err, KV_ENOMEM, "no memory for a backup");
}

void kvi_stream_close(kvi_stream *stream)
{
    stream->os->free(stream->os, stream->block);
    stream->os->free(stream->os, stream->piece);
}

/* The checksum of a block, with the one before it. head: its first four bytes, the length. */
static uint64_t chain_next(const kvi_stream *stream, const uint8_t *head, size_t len)
{
    kvi_hash_run run;
    uint8_t before[8];
    kvi_put64(before, stream->chain);
    kvi_hash_begin(&run, &stream->hash);
    kvi_hash_add(&run, before, sizeof before);
    kvi_hash_add(&run, head, 4);
    kvi_hash_add(&run, head + KVI_STREAM_HEAD, len);
    return kvi_hash_end(&run);
}

/* ---- writing ---- */

static int stream_write(kvi_stream *stream, const uint8_t *bytes, size_t len)
{
    stream->passed += len;
    if (stream->write(stream->context, bytes, len) != 0)
        return kvi_fail(stream->err, KV_ECANCELED, "a callback asked to stop");
    return KV_OK;
}

int kvi_stream_begin(kvi_stream *stream, const kvi_stream_header *header)
{
    uint8_t bytes[KVI_STREAM_HEADER] = {0};
    kvi_put64(bytes + KVI_H_magic, KVI_STREAM_MAGIC);
    kvi_put32(bytes + KVI_H_version, KVI_STREAM_VERSION);
    kvi_put32(bytes + KVI_H_page_size, header->page_size);
    memcpy(bytes + KVI_H_file_id, header->file_id, sizeof header->file_id);
    kvi_put64(bytes + KVI_H_from, header->from);
    kvi_put64(bytes + KVI_H_to, header->to);
    kvi_put64(bytes + KVI_H_clock, header->clock);
    stream->chain = kvi_hash_bytes(&stream->hash, bytes, KVI_H_checksum);
    kvi_put64(bytes + KVI_H_checksum, stream->chain);
    return stream_write(stream, bytes, sizeof bytes);
}

/* The block as it is, also an empty one, which ends the backup. */
static int block_write(kvi_stream *stream)
{
    uint8_t *head = stream->block;
    size_t len = stream->used;
    stream->used = 0;
    kvi_put32(head, (uint32_t)len);
    stream->chain = chain_next(stream, head, len);
    kvi_put64(head + 4, stream->chain);
    return stream_write(stream, head, KVI_STREAM_HEAD + len);
}

int kvi_stream_put(kvi_stream *stream, kvi_slice bytes)
{
    int rc = KV_OK;
    while (rc == KV_OK && bytes.len > 0) {
        size_t part = KVI_MIN(bytes.len, KVI_STREAM_BLOCK - stream->used);
        memcpy(stream->block + KVI_STREAM_HEAD + stream->used, bytes.ptr, part);
        stream->used += part;
        bytes.ptr += part;
        bytes.len -= part;
        if (stream->used == KVI_STREAM_BLOCK)
            rc = block_write(stream);
    }
    return rc;
}

int kvi_stream_put_byte(kvi_stream *stream, uint8_t byte)
{
    return kvi_stream_put(stream, kvi_slice_of(&byte, 1));
}

int kvi_stream_put_number(kvi_stream *stream, uint64_t n)
{
    uint8_t bytes[KVI_VARINT_MAX];
    return kvi_stream_put(stream, kvi_slice_of(bytes, (size_t)(kvi_varint_put(bytes, n) - bytes)));
}

int kvi_stream_put_bytes(kvi_stream *stream, kvi_slice bytes)
{
    int rc = kvi_stream_put_number(stream, bytes.len);
    return rc == KV_OK ? kvi_stream_put(stream, bytes) : rc;
}

int kvi_stream_put_bound(kvi_stream *stream, const kvi_slice *bound)
{
    int rc = kvi_stream_put_number(stream, bound ? 1 + (uint64_t)bound->len : 0);
    return rc == KV_OK && bound ? kvi_stream_put(stream, *bound) : rc;
}

int kvi_stream_end(kvi_stream *stream)
{
    int rc = stream->used ? block_write(stream) : KV_OK;
    return rc == KV_OK ? block_write(stream) : rc;
}

/* ---- reading ---- */

int kvi_stream_damaged(const kvi_stream *stream, const char *what)
{
    return kvi_fail(stream->err, KV_EBACKUP, "the backup is damaged: %s (near byte %llu)", what,
                    (unsigned long long)stream->passed);
}

/* Exactly len bytes; *got: fewer, the stream has ended. */
static int stream_read(kvi_stream *stream, uint8_t *bytes, size_t len, size_t *got)
{
    for (*got = 0; *got < len;) {
        int64_t n = stream->read(stream->context, bytes + *got, len - *got);
        if (n < 0 || (uint64_t)n > len - *got)
            return kvi_fail(stream->err, KV_ECANCELED, "a callback asked to stop");
        if (n == 0)
            break;
        *got += (size_t)n;
    }
    stream->passed += *got;
    return KV_OK;
}

static int header_check(kvi_stream *stream, const uint8_t *bytes)
{
    if (kvi_get64(bytes + KVI_H_magic) != KVI_STREAM_MAGIC)
        return kvi_fail(stream->err, KV_ENOTKV, "this is no backup of a kv database");
    if (kvi_get32(bytes + KVI_H_version) != KVI_STREAM_VERSION)
        return kvi_fail(stream->err, KV_EVERSION, "the backup has version %u of the format, not %u",
                        kvi_get32(bytes + KVI_H_version), KVI_STREAM_VERSION);
    stream->chain = kvi_hash_bytes(&stream->hash, bytes, KVI_H_checksum);
    if (kvi_get64(bytes + KVI_H_checksum) != stream->chain)
        return kvi_stream_damaged(stream, "the checksum of its header is wrong");
    return KV_OK;
}

int kvi_stream_header_read(kvi_stream *stream, kvi_stream_header *header)
{
    uint8_t bytes[KVI_STREAM_HEADER];
    size_t got;
    int rc = stream_read(stream, bytes, sizeof bytes, &got);
    if (rc == KV_OK && got == 0)
        return KV_NOTFOUND;
    if (rc == KV_OK && got < sizeof bytes)
        rc = kvi_stream_damaged(stream, "it ends in its header");
    if (rc == KV_OK)
        rc = header_check(stream, bytes);
    if (rc != KV_OK)
        return rc;
    header->page_size = kvi_get32(bytes + KVI_H_page_size);
    memcpy(header->file_id, bytes + KVI_H_file_id, sizeof header->file_id);
    header->from = kvi_get64(bytes + KVI_H_from);
    header->to = kvi_get64(bytes + KVI_H_to);
    header->clock = kvi_get64(bytes + KVI_H_clock);
    bool sound = header->from <= header->to && header->to >= 1 && header->to <= KVI_ID_MAX &&
                 kvi_page_size_ok(header->page_size);
    return sound ? KV_OK : kvi_stream_damaged(stream, "its header makes no sense");
}

static int block_read(kvi_stream *stream)
{
    uint8_t *head = stream->block;
    size_t got, more = 0;
    int rc = stream_read(stream, head, KVI_STREAM_HEAD, &got);
    if (rc != KV_OK)
        return rc;
    size_t len = got == KVI_STREAM_HEAD ? kvi_get32(head) : 0;
    if (len > KVI_STREAM_BLOCK)
        return kvi_stream_damaged(stream, "a block is too long");
    rc = stream_read(stream, head + KVI_STREAM_HEAD, len, &more);
    if (rc != KV_OK)
        return rc;
    if (got < KVI_STREAM_HEAD || more < len)
        return kvi_stream_damaged(stream, "it was cut short");
    stream->chain = chain_next(stream, head, len);
    if (kvi_get64(head + 4) != stream->chain)
        return kvi_stream_damaged(stream, "the checksum of a block is wrong");
    stream->used = 0;
    stream->len = len;
    stream->ended = len == 0;
    return KV_OK;
}

/* Makes sure that something is left in the block. KV_NOTFOUND: the backup has ended. */
static int block_ready(kvi_stream *stream)
{
    int rc = stream->used == stream->len && !stream->ended ? block_read(stream) : KV_OK;
    return rc == KV_OK && stream->ended ? KV_NOTFOUND : rc;
}

/* Grows as bytes arrive, not as a length claims. */
static int piece_add(kvi_stream *stream, size_t at, kvi_slice bytes)
{
    if (at + bytes.len > stream->piece_size) {
        size_t size = KVI_MAX(stream->piece_size * 2, at + bytes.len);
        uint8_t *piece = stream->os->realloc(stream->os, stream->piece, size);
        if (!piece)
            return kvi_fail(stream->err, KV_ENOMEM, "no memory for a value of the backup");
        stream->piece = piece;
        stream->piece_size = size;
    }
    memcpy(stream->piece + at, bytes.ptr, bytes.len);
    return KV_OK;
}

static int piece_take(kvi_stream *stream, uint64_t len, kvi_slice *bytes)
{
    uint64_t at = 0;
    while (at < len) {
        int rc = block_ready(stream);
        if (rc == KV_NOTFOUND)
            return kvi_stream_damaged(stream, "it ends in the middle of something");
        if (rc != KV_OK)
            return rc;
        size_t part = (size_t)KVI_MIN(len - at, (uint64_t)(stream->len - stream->used));
        rc = piece_add(stream, (size_t)at,
                       kvi_slice_of(stream->block + KVI_STREAM_HEAD + stream->used, part));
        if (rc != KV_OK)
            return rc;
        stream->used += part;
        at += part;
    }
    *bytes = kvi_slice_of(stream->piece, (size_t)len);
    return KV_OK;
}

/* The next len bytes, valid until the next call. */
static int stream_take(kvi_stream *stream, uint64_t len, kvi_slice *bytes)
{
    if (len > stream->len - stream->used)
        return piece_take(stream, len, bytes);
    *bytes = kvi_slice_of(stream->block + KVI_STREAM_HEAD + stream->used, (size_t)len);
    stream->used += (size_t)len;
    return KV_OK;
}

int kvi_stream_byte(kvi_stream *stream, uint8_t *byte)
{
    int rc = block_ready(stream);
    if (rc == KV_OK)
        *byte = stream->block[KVI_STREAM_HEAD + stream->used++];
    return rc;
}

int kvi_stream_number(kvi_stream *stream, uint64_t *n)
{
    uint8_t bytes[KVI_VARINT_MAX];
    for (size_t len = 0; len < sizeof bytes;) {
        int rc = kvi_stream_byte(stream, &bytes[len]);
        if (rc == KV_NOTFOUND)
            return kvi_stream_damaged(stream, "it ends in the middle of a number");
        if (rc != KV_OK)
            return rc;
        if (bytes[len++] < 0x80)
            return kvi_varint_get(bytes, bytes + len, n)
                       ? KV_OK
                       : kvi_stream_damaged(stream, "a number is malformed");
    }
    return kvi_stream_damaged(stream, "a number is malformed");
}

static int key_take(kvi_stream *stream, uint64_t len, kvi_slice *key)
{
    if (len > KVI_STREAM_KEY)
        return kvi_stream_damaged(stream, "a key is too long");
    return stream_take(stream, len, key);
}

int kvi_stream_key(kvi_stream *stream, kvi_slice *key)
{
    uint64_t len;
    int rc = kvi_stream_number(stream, &len);
    return rc == KV_OK ? key_take(stream, len, key) : rc;
}

int kvi_stream_value(kvi_stream *stream, kvi_slice *value)
{
    uint64_t len;
    int rc = kvi_stream_number(stream, &len);
    if (rc == KV_OK && len > KV_VALUE_MAX)
        rc = kvi_stream_damaged(stream, "a value is too long");
    return rc == KV_OK ? stream_take(stream, len, value) : rc;
}

int kvi_stream_bound(kvi_stream *stream, kvi_slice *bytes, const kvi_slice **bound)
{
    uint64_t number;
    int rc = kvi_stream_number(stream, &number);
    *bound = NULL;
    if (rc != KV_OK || number == 0)
        return rc;
    *bound = bytes;
    return key_take(stream, number - 1, bytes);
}
