/* codec.c - see codec.h. LZ4 block format: https://github.com/lz4/lz4, doc/lz4_Block_format.md. */
#include "codec.h"
#include <lz4.h>

#define LZ4_RATIO_MAX 255 /* a byte of LZ4 stands for at most so many */

uint64_t kvi_codec_input_max(unsigned codec)
{
    return codec == KVI_CODEC_LZ4 ? LZ4_MAX_INPUT_SIZE : 0;
}

size_t kvi_codec_bound(unsigned codec, size_t len)
{
    return codec == KVI_CODEC_LZ4 ? (size_t)LZ4_compressBound((int)len) : 0;
}

size_t kvi_codec_compress(unsigned codec, kvi_slice in, uint8_t *out, size_t out_size)
{
    if (codec != KVI_CODEC_LZ4)
        return 0;
    int len = LZ4_compress_default((const char *)in.ptr, (char *)out, (int)in.len,
                                   (int)KVI_MIN(out_size, (size_t)INT32_MAX));
    return len > 0 ? (size_t)len : 0;
}

bool kvi_codec_plausible(unsigned codec, uint64_t in_len, uint64_t raw_len)
{
    return raw_len <= kvi_codec_input_max(codec) && in_len <= INT32_MAX &&
           raw_len <= (in_len + 1) * LZ4_RATIO_MAX;
}

bool kvi_codec_decompress(unsigned codec, kvi_slice in, uint8_t *out, size_t raw_len)
{
    if (codec != KVI_CODEC_LZ4)
        return false;
    int len = LZ4_decompress_safe((const char *)in.ptr, (char *)out, (int)in.len, (int)raw_len);
    return len >= 0 && (size_t)len == raw_len;
}
