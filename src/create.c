/* create.c - see create.h. */
#include "create.h"
#include "flush.h"
#include "node.h"
#include <errno.h>
#include <stdio.h>

int kvi_create_temporary(const kvi_os *os, kvi_err *err, const char *path, char **name)
{
    uint64_t number;
    size_t size = strlen(path) + sizeof ".tmp-0123456789abcdef";
    int rc = os->random(os, &number, sizeof number);
    if (rc < 0)
        return kvi_fail_os(err, rc, "asking for random bytes");
    *name = os->alloc(os, size);
    if (!*name)
        return KV_ENOMEM;
    snprintf(*name, size, "%s.tmp-%016llx", path, (unsigned long long)number);
    return KV_OK;
}

/* Commit 1: an empty main tree, whose root is an empty leaf behind the metas. */
static int first_meta(const kvi_os *os, kvi_err *err, uint32_t page_size, kvi_meta *meta)
{
    memset(meta, 0, sizeof *meta);
    meta->page_size = page_size;
    meta->id = 1;
    meta->durable = 1;
    meta->kind = KVI_KIND_STRICT;
    meta->high_water = kvi_first_page(page_size) + 1;
    meta->clock = os->clock_ms(os);
    meta->main.root = (kvi_ptr){kvi_first_page(page_size), 1};
    meta->main.leaf_pages = 1;
    int rc = os->random(os, meta->file_id, sizeof meta->file_id);
    if (rc >= 0)
        rc = os->random(os, &meta->hash_seed, sizeof meta->hash_seed);
    if (rc < 0)
        return kvi_fail_os(err, rc, "asking for random bytes");
    rc = os->boot_id(os, meta->boot_id);
    return rc < 0 ? kvi_fail_os(err, rc, "asking for the boot id") : KV_OK;
}

static int write_leaf(kvi_file *file, kvi_ptr ptr)
{
    uint8_t *page = file->os->alloc(file->os, file->page_size);
    if (!page)
        return KV_ENOMEM;
    memset(page, 0, file->page_size);
    kvi_leaf_init(page, file->page_size);
    kvi_file_stamp(file, page, ptr);
    int rc = kvi_file_write(file, ptr.page << file->page_shift, page, file->page_size);
    file->os->free(file->os, page);
    return rc;
}

static int write_image(const kvi_os *os, kvi_err *err, int fd, uint32_t page_size)
{
    kvi_meta meta;
    kvi_file file;
    int rc = first_meta(os, err, page_size, &meta);
    if (rc == KV_OK)
        rc = kvi_file_init(&file, os, err, fd, page_size, meta.hash_seed, true);
    if (rc != KV_OK)
        return rc;
    rc = write_leaf(&file, meta.main.root);
    for (unsigned slot = 0; rc == KV_OK && slot < 2; slot++)
        rc = kvi_meta_write(&file, &meta, slot);
    if (rc == KV_OK)
        rc = kvi_file_extend(&file, meta.high_water);
    if (rc == KV_OK)
        rc = kvi_file_sync(&file);
    kvi_file_close(&file);
    return rc;
}

/* Makes the new name durable. back: without that, the file shall not be there. */
static int name_flush(const kvi_os *os, kvi_err *err, const char *path, bool back)
{
    int rc = os->sync_dir(os, path);
    if (rc >= 0)
        return KV_OK;
    if (back)
        os->unlink(os, path);
    return kvi_fail_os(err, rc, "flushing the directory of %s", path);
}

/* Gives the finished file its name. */
static int name_it(const kvi_os *os, kvi_err *err, const char *temporary, const char *path,
                   bool replace)
{
    int rc = replace ? os->rename(os, temporary, path) : os->link(os, temporary, path);
    if (rc == -EEXIST)
        return KV_EXISTS;
    if (rc < 0)
        return kvi_fail_os(err, rc, "creating %s", path);
    return name_flush(os, err, path, !replace);
}

int kvi_create(const kvi_os *os, kvi_err *err, const char *path, uint32_t page_size,
               const kvi_os_stat *replaced)
{
    char *temporary;
    int rc = kvi_create_temporary(os, err, path, &temporary);
    if (rc != KV_OK)
        return rc;
    int fd = os->open(os, temporary, KVI_OS_WRITE | KVI_OS_CREATE | KVI_OS_EXCL,
                      replaced ? 0600 : 0666); /* nobody opens it before it is as private as that */
    if (fd < 0) {
        rc = kvi_fail_os(err, fd, "creating %s", temporary);
    } else {
        if (replaced)
            os->permit(os, fd, replaced);
        rc = write_image(os, err, fd, page_size);
        os->close(os, fd);
        if (rc == KV_OK)
            rc = name_it(os, err, temporary, path, replaced != NULL);
        os->unlink(os, temporary);
    }
    os->free(os, temporary);
    return rc;
}

/* ---- other files that get their name when they are whole ---- */

static int taken(kvi_err *err, const char *path)
{
    return kvi_fail(err, KV_EXISTS, "%s exists already", path);
}

static int name_new(const kvi_os *os, kvi_err *err, const char *temporary, const char *path)
{
    int rc = os->link(os, temporary, path);
    if (rc == -EEXIST)
        return taken(err, path);
    if (rc < 0)
        return kvi_fail_os(err, rc, "naming %s", path);
    return name_flush(os, err, path, true);
}

int kvi_create_empty(const kvi_os *os, kvi_err *err, const char *path, uint32_t mode)
{
    int fd = os->open(os, path, KVI_OS_WRITE | KVI_OS_CREATE | KVI_OS_EXCL, mode);
    if (fd < 0)
        return kvi_fail_os(err, fd, "creating %s", path);
    os->close(os, fd);
    return KV_OK;
}

int kvi_create_beside(const kvi_os *os, kvi_err *err, const char *path, int like,
                      int (*write)(void *context, const char *temporary), void *context)
{
    kvi_os_stat stat;
    char *temporary;
    if (os->stat_path(os, path, &stat) >= 0)
        return taken(err, path);
    int rc = os->stat(os, like, &stat);
    if (rc < 0)
        return kvi_fail_os(err, rc, "asking who may read what %s is made of", path);
    rc = kvi_create_temporary(os, err, path, &temporary);
    if (rc != KV_OK)
        return rc;
    rc = kvi_create_empty(os, err, temporary, (stat.mode & 0666) | 0600);
    if (rc == KV_OK)
        rc = write(context, temporary);
    if (rc == KV_OK)
        rc = name_new(os, err, temporary, path);
    os->unlink(os, temporary);
    os->free(os, temporary);
    return rc;
}
