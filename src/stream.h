/* stream.h - how a backup lies in a stream of bytes: a header, blocks with checksums, an end. What
 * the bytes mean is backup.h; docs/backup-format.md has every byte.
 *
 * Each checksum covers the one before it, so a block that is missing, swapped or foreign is noticed
 * like one that is damaged, and the last checksum speaks for the whole. */
#ifndef KVI_STREAM_H
#define KVI_STREAM_H

#include "err.h"
#include "format.h"
#include "hash.h"
#include "os.h"

#define KVI_STREAM_MAGIC   0x8a0d0a1a6b62766bull /* not text, breaks when line ends are translated */
#define KVI_STREAM_VERSION 1
#define KVI_STREAM_SEED    0x6b762d7374726dull /* of all checksums */
#define KVI_STREAM_HEADER  64
#define KVI_STREAM_HEAD    12                 /* of a block: length, checksum */
#define KVI_STREAM_BLOCK   65536              /* most bytes of a block */
#define KVI_STREAM_KEY     (KVI_PAGE_MAX / 4) /* most bytes of a key, a bound, a name */

/* ---- header ---- name, offset, size */
#define KVI_STREAM_FIELDS(F)                                                                       \
    F(magic, 0, 8)                                                                                 \
    F(version, 8, 4)                                                                               \
    F(page_size, 12, 4)                                                                            \
    F(file_id, 16, 16)                                                                             \
    F(from, 32, 8)                                                                                 \
    F(to, 40, 8)                                                                                   \
    F(clock, 48, 8)                                                                                \
    F(checksum, 56, 8)

#define KVI_STREAM_AT(name, off, size) KVI_H_##name = (off),
enum { KVI_STREAM_FIELDS(KVI_STREAM_AT) }; /* KVI_H_from ... */

typedef struct kvi_stream_header {
    uint32_t page_size;  /* of the source */
    uint8_t file_id[16]; /* the source */
    kvi_id from;         /* what was changed since this commit; 0: all there is */
    kvi_id to;           /* the commit that the target will repeat */
    uint64_t clock;      /* of that commit */
} kvi_stream_header;

typedef struct kvi_stream {
    const kvi_os *os;
    kvi_err *err;
    int (*write)(void *context, const void *bytes, size_t len); /* writing; not 0 stops */
    int64_t (*read)(void *context, void *bytes, size_t len);    /* reading; 0: the end, < 0 stops */
    void *context;
    kvi_hash hash;
    uint64_t chain;  /* the newest checksum */
    uint64_t passed; /* bytes written or read, framing included */
    uint8_t *block;
    size_t used;    /* writing: bytes in the block; reading: bytes taken from it */
    size_t len;     /* reading: bytes in the block */
    uint8_t *piece; /* reading: what was not in one block */
    size_t piece_size;
    bool ended;
} kvi_stream;

/* err, os and the functions are set. */
int kvi_stream_open(kvi_stream *stream) KVI_MUST_CHECK;
void kvi_stream_close(kvi_stream *stream);

/* ---- writing ---- KV_ECANCELED: the function asked to stop */

int kvi_stream_begin(kvi_stream *stream, const kvi_stream_header *header) KVI_MUST_CHECK;
int kvi_stream_put(kvi_stream *stream, kvi_slice bytes) KVI_MUST_CHECK;
int kvi_stream_put_byte(kvi_stream *stream, uint8_t byte) KVI_MUST_CHECK;
int kvi_stream_put_number(kvi_stream *stream, uint64_t n) KVI_MUST_CHECK;
int kvi_stream_put_bytes(kvi_stream *stream, kvi_slice bytes) KVI_MUST_CHECK; /* length, bytes */
int kvi_stream_put_bound(kvi_stream *stream,
                         const kvi_slice *bound) KVI_MUST_CHECK; /* NULL: open */
int kvi_stream_end(kvi_stream *stream) KVI_MUST_CHECK;

/* ---- reading ---- KV_ECORRUPT: it is damaged or cut short */

/* KV_NOTFOUND: the stream ends before another header. KV_ENOTKV, KV_EVERSION. */
int kvi_stream_header_read(kvi_stream *stream, kvi_stream_header *header) KVI_MUST_CHECK;

int kvi_stream_number(kvi_stream *stream, uint64_t *n) KVI_MUST_CHECK;

/* What kvi_stream_put_bytes wrote, valid until the next call. */
int kvi_stream_key(kvi_stream *stream, kvi_slice *key) KVI_MUST_CHECK;
int kvi_stream_value(kvi_stream *stream, kvi_slice *value) KVI_MUST_CHECK;

/* *bound: bytes, or NULL for the open end. */
int kvi_stream_bound(kvi_stream *stream, kvi_slice *bytes, const kvi_slice **bound) KVI_MUST_CHECK;

/* One byte, or KV_NOTFOUND at the end of the backup. */
int kvi_stream_byte(kvi_stream *stream, uint8_t *byte) KVI_MUST_CHECK;

/* The sentence for contents that make no sense. */
int kvi_stream_damaged(const kvi_stream *stream, const char *what);

#endif
