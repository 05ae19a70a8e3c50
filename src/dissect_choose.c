/* dissect_choose.c - a copy of a file whose newest commit is that of one of its metas. */
#include "create.h"
#include "dissect.h"

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

/* What is copied, and as of which commit. */
typedef struct choice_order {
    kvi_carve *carve;
    kvi_meta meta;
} choice_order;

static int choose_write(void *context, const char *path)
{
    const choice_order *order = context;
    kvi_carve *carve = order->carve;
    const kvi_meta *meta = &order->meta;
    const kvi_os *os = carve->os;
    kvi_file out;
    uint8_t *piece = os->alloc(os, KVI_PAGE_MAX);
    if (!piece)
        return kvi_fail(&carve->err, KV_ENOMEM, "no memory for a copy");
    int fd = os->open(os, path, KVI_OS_WRITE, 0);
    int rc = fd < 0
                 ? kvi_fail_os(&carve->err, fd, "opening %s", path)
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

int kvi_dissect_choose(kv_inspect *look, unsigned slot, const char *dest)
{
    kvi_carve *carve = &look->carve;
    choice_order order = {.carve = carve};
    if (kvi_meta_decode(carve->slots.block[slot], &order.meta) != KVI_META_VALID)
        return kvi_fail(&carve->err, KV_ECORRUPT, "meta %u is not sound", slot);
    return kvi_create_beside(carve->os, &carve->err, dest, carve->file.fd, choose_write, &order);
}
