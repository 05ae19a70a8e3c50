/* entry.c - the target that FUZZ_TARGET names, as libFuzzer calls it. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    return FUZZ_TARGET(data, len);
}
