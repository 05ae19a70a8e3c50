/* pairs.c - see pairs.h. */
#include "pairs.h"

size_t kvi_pairs_key(kvi_slice key, enum kvi_pairs_end end, uint8_t *buf, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < key.len && len < size; i++) {
        uint8_t form[2];
        size_t n = kvi_escaped_byte(key.ptr[i], form);
        n = KVI_MIN(n, size - len);
        memcpy(buf + len, form, n);
        len += n;
    }
    if (end != KVI_PAIRS_OPEN && len < size)
        buf[len++] = end == KVI_PAIRS_AFTER ? KVI_ESCAPED_END + 1 : KVI_ESCAPED_END;
    return len;
}

size_t kvi_pairs_join(kvi_slice key, kvi_slice value, uint8_t *buf, size_t size)
{
    size_t len = kvi_pairs_key(key, KVI_PAIRS_FIRST, buf, size);
    size_t n = KVI_MIN(value.len, size - len);
    if (n)
        memcpy(buf + len, value.ptr, n);
    return kvi_escaped_len(key) + value.len;
}

size_t kvi_pairs_key_len(const uint8_t *pair, size_t len)
{
    const uint8_t *at = pair, *end = pair + len;
    uint8_t byte;
    int n;
    while ((n = kvi_escaped_read(at, end, 0, &byte)) > 0)
        at += n;
    return n == 0 ? (size_t)(at - pair) + 1 : 0;
}

bool kvi_pairs_split(uint8_t *pair, size_t len, kvi_slice *key, kvi_slice *value)
{
    const uint8_t *at = pair, *end = pair + len;
    uint8_t *to = pair, byte;
    int n;
    while ((n = kvi_escaped_read(at, end, 0, &byte)) > 0) {
        at += n;
        *to++ = byte;
    }
    if (n < 0)
        return false;
    *key = kvi_slice_of(pair, (size_t)(to - pair));
    *value = kvi_slice_of(at + 1, (size_t)(end - at) - 1);
    return true;
}
