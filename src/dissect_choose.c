/* dissect_choose.c - a copy of a file whose newest commit is that of one of its metas. */
#include "create.h"
#include "dissect.h"
#include <errno.h>

/* A page that cannot be read becomes zeros: whoever meets it will say that it is damaged. */
static int choose_copy(kvi_carve *carve, kvi_file *out, uint8_t *piece)
{
    uint64_t size = atomic_load(&carve->file.size);
    uint32_t page_size = carve->file.page_size;
    int rc = KV_OK;
    for (uint64_t at = 0; rc == KV_OK && at < size; at += page_size) {
        size_t len = (size_t)KVI_MIN(size - at, (uint64_t)page_size);
        if (kvi_file_read(&carve->file, at, piece, len) != KV_OK)
            memset(piece, 0, len);
        rc = kvi_file_write(out, at, piece, len);
    }
    return rc;
}

/* Both slots get the commit, as one of another boot: ids that a newer commit may have used are passed
 * over then. */
static int choose_metas(kvi_file *out, const kvi_meta *chosen)
{
    kvi_meta meta = *chosen;
    kvi_meta_prove(&meta);
    memset(meta.boot_id, 0, sizeof meta.boot_id);
    meta.origin_id = 0;
    memset(meta.origin, 0, sizeof meta.origin);
    int rc = out->os->random(out->os, meta.file_id, sizeof meta.file_id);
    if (rc < 0)
        return kvi_fail_os(out->err, rc, "asking for random bytes");
    rc = KV_OK;
    for (unsigned slot = 0; rc == KV_OK && slot < 2; slot++)
        rc = kvi_meta_write(out, &meta, slot);
    return rc;
}

static int choose_write(kvi_carve *carve, const kvi_meta *meta, const char *path)
{
    const kvi_os *os = carve->os;
    kvi_file out;
    uint8_t *piece = os->alloc(os, KVI_PAGE_MAX);
    if (!piece)
        return kvi_fail(&carve->err, KV_ENOMEM, "no memory for a copy");
    int fd = os->open(os, path, KVI_OS_WRITE | KVI_OS_CREATE | KVI_OS_EXCL, 0666);
    int rc = fd < 0
                 ? kvi_fail_os(&carve->err, fd, "creating %s", path)
                 : kvi_file_init(&out, os, &carve->err, fd, meta->page_size, meta->hash_seed, true);
    if (rc == KV_OK) {
        rc = choose_copy(carve, &out, piece);
        if (rc == KV_OK)
            rc = choose_metas(&out, meta);
        if (rc == KV_OK)
            rc = kvi_file_extend(&out, meta->high_water);
        if (rc == KV_OK)
            rc = kvi_file_sync(&out);
        kvi_file_close(&out);
    }
    if (fd >= 0)
        os->close(os, fd);
    os->free(os, piece);
    return rc;
}

static int choose_link(kvi_carve *carve, const char *from, const char *to)
{
    const kvi_os *os = carve->os;
    int rc = os->link(os, from, to);
    if (rc == -EEXIST)
        return kvi_fail(&carve->err, KV_EXISTS, "%s exists already", to);
    if (rc < 0)
        return kvi_fail_os(&carve->err, rc, "naming the copy %s", to);
    rc = os->sync_dir(os, to);
    if (rc >= 0)
        return KV_OK;
    os->unlink(os, to);
    return kvi_fail_os(&carve->err, rc, "flushing the directory of %s", to);
}

int kvi_dissect_choose(kv_inspect *look, unsigned slot, const char *dest)
{
    kvi_carve *carve = &look->carve;
    const kvi_os *os = carve->os;
    kvi_meta meta;
    kvi_os_stat stat;
    char *temporary;
    if (kvi_meta_decode(carve->slots.block[slot], &meta) != KVI_META_VALID)
        return kvi_fail(&carve->err, KV_ECORRUPT, "meta %u is not sound", slot);
    if (os->stat_path(os, dest, &stat) >= 0)
        return kvi_fail(&carve->err, KV_EXISTS, "%s exists already", dest);
    int rc = kvi_create_temporary(os, &carve->err, dest, &temporary);
    if (rc != KV_OK)
        return rc;
    rc = choose_write(carve, &meta, temporary);
    if (rc == KV_OK)
        rc = choose_link(carve, temporary, dest);
    os->unlink(os, temporary);
    os->free(os, temporary);
    return rc;
}
