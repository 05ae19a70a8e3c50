/* api_inspect.c - the public calls that look inside a file: arguments are checked here. */
#include "check.h"
#include "dissect.h"

KV_API int kv_inspect_open(const char *path, kv_inspect **look, char *message, size_t message_size)
{
    if (look)
        *look = NULL;
    if (message && message_size)
        *message = 0;
    if (!path || !*path || !look)
        return KV_EINVAL;
    return kvi_dissect_open(&kvi_os_posix, path, look, message, message_size);
}

KV_API void kv_inspect_close(kv_inspect *look)
{
    if (look)
        kvi_dissect_close(look);
}

KV_API int kv_inspect_meta(kv_inspect *look, unsigned slot, kv_meta_info *info)
{
    if (!look || slot > 1 || !info || info->size < sizeof *info)
        return KV_EINVAL;
    kvi_dissect_meta(look, slot, info);
    return KV_OK;
}

KV_API int kv_inspect_check(kv_inspect *look, const kv_check_options *options)
{
    kv_check_options known = {.size = sizeof known};
    if (!look || (options && options->size < sizeof options->size))
        return KV_EINVAL;
    if (options)
        memcpy(&known, options, KVI_MIN(options->size, sizeof known));
    return kvi_check_carved(&look->carve, &known);
}

KV_API int kv_inspect_choose(kv_inspect *look, unsigned slot, const char *dest, char *message,
                             size_t message_size)
{
    if (message && message_size)
        *message = 0;
    if (!look || slot > 1 || !dest || !*dest)
        return KV_EINVAL;
    int rc = kvi_dissect_choose(look, slot, dest);
    if (rc != KV_OK && message)
        kvi_err_text(&look->carve.err, message, message_size);
    return rc;
}

KV_API uint64_t kv_inspect_pages(kv_inspect *look)
{
    return look ? look->limit : 0;
}

KV_API int kv_inspect_page(kv_inspect *look, uint64_t page, kv_page_info *info)
{
    if (!look || !info || info->size < sizeof *info)
        return KV_EINVAL;
    return kvi_dissect_page(look, page, info);
}

KV_API int kv_inspect_bytes(kv_inspect *look, uint64_t page, void *buf, size_t size, size_t *got)
{
    if (!look || !buf || !got)
        return KV_EINVAL;
    if (page >= look->carve.pages)
        return KV_NOTFOUND;
    int rc = kvi_carve_read(&look->carve, page, look->page);
    if (rc != KV_OK)
        return rc;
    *got = KVI_MIN(size, (size_t)look->carve.file.page_size);
    memcpy(buf, look->page, *got);
    return KV_OK;
}

KV_API int kv_inspect_slots(kv_inspect *look, uint64_t page,
                            int (*fn)(void *context, const kv_page_slot *slot), void *context)
{
    if (!look || !fn)
        return KV_EINVAL;
    return kvi_dissect_slots(look, page, fn, context);
}
