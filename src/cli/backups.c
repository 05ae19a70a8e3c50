/* backups.c - see backups.h. */
#include "backups.h"
#include "units.h"
#include <stdio.h>

const char *backups_text(char buf[BACKUPS_TEXT_MAX], const kv_backup_info *info)
{
    char entries[UNITS_MAX], size[UNITS_MAX];
    snprintf(buf, BACKUPS_TEXT_MAX, "commits %llu to %llu: %s %s, %s",
             (unsigned long long)info->from, (unsigned long long)info->to,
             units_count(entries, info->entries), info->entries == 1 ? "entry" : "entries",
             units_size(size, info->bytes));
    return buf;
}

bool backups_begins(const uint8_t bytes[BACKUPS_MAGIC])
{
    return backups_number(bytes, BACKUPS_MAGIC) == 0x8a0d0a1a6b62766b;
}

uint64_t backups_number(const uint8_t *bytes, int size)
{
    uint64_t n = 0;
    while (size-- > 0)
        n = n << 8 | bytes[size];
    return n;
}
