/* parcel.h - backups kept in memory, on their way from one database to another. */
#ifndef PARCEL_H
#define PARCEL_H

#include "kv.h"
#include "base.h"
#include "stream.h"

typedef struct parcel {
    uint8_t *bytes;
    size_t len, cap;
    size_t read;  /* bytes that were taken out */
    size_t piece; /* at most so many at once; 0: all */
} parcel;

void parcel_free(parcel *p);

/* Adds a backup of what txn sees, or of the newest commit, with kv_backup's result. */
int parcel_pack(parcel *p, kv_txn *txn, uint64_t since, kv_backup_info *info);
int parcel_pack_newest(parcel *p, kv_db *db, uint64_t since, kv_backup_info *info);

/* Applies the next backup in it. */
int parcel_unpack(parcel *p, kv_db *db, uint32_t flags, kv_backup_info *info);

/* Adds a backup of these records, sound as far as the stream goes: right header, blocks, checksums. */
int parcel_seal(parcel *p, const kvi_os *os, const kvi_stream_header *header, kvi_slice records);

/* The records of the one backup in it: what its blocks hold. */
parcel parcel_records(const parcel *p);

/* For kv_backup_options and kv_apply_options; context is the parcel. */
int parcel_write(void *context, const void *bytes, size_t len);
int64_t parcel_read(void *context, void *bytes, size_t len);

#endif
