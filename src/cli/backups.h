/* backups.h - what the commands that make, apply and merge backups share. */
#ifndef BACKUPS_H
#define BACKUPS_H

#include "kv.h"

#define BACKUPS_HEADER   64 /* bytes of a backup's header; docs/backup-format.md */
#define BACKUPS_MAGIC    8  /* bytes that tell that it is one */
#define BACKUPS_TEXT_MAX 160

/* commits 2 to 6: 645 entries, 12.7 KiB */
const char *backups_text(char buf[BACKUPS_TEXT_MAX], const kv_backup_info *info);

/* Are these the first bytes of a backup? */
bool backups_begins(const uint8_t bytes[BACKUPS_MAGIC]);

/* A number of so many bytes of a backup. */
uint64_t backups_number(const uint8_t *bytes, int size);

#endif
