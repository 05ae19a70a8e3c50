/* codec.h - compression of single values. The id is kept with the value, so more can follow. */
#ifndef KVI_CODEC_H
#define KVI_CODEC_H

#include "format.h"

/* Longest input that the codec takes; 0 for an unknown codec. */
uint64_t kvi_codec_input_max(unsigned codec);

/* Most bytes that len bytes can become. */
size_t kvi_codec_bound(unsigned codec, size_t len);

/* Returns the compressed length, 0 when it would exceed out_size. */
size_t kvi_codec_compress(unsigned codec, kvi_slice in, uint8_t *out, size_t out_size);

/* Could raw_len bytes come out of in_len bytes? Guards the allocation for them. */
bool kvi_codec_plausible(unsigned codec, uint64_t in_len, uint64_t raw_len);

/* False unless exactly raw_len bytes come out. */
bool kvi_codec_decompress(unsigned codec, kvi_slice in, uint8_t *out, size_t raw_len);

#endif
