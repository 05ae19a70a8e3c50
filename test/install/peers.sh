#!/usr/bin/env bash
# Builds programs of another C library or word size, for tests that source this file behind the
# command's common.sh: each left out visibly where it cannot be built, and without lz4, which is
# rarely there for them, so that nothing is compressed.

# What is built with the engine, and how.
peer_sources=()
peer_flags=()

# In the folder of the test.
peer_headers()
{
    local folder
    mkdir -p peer/include peer/kernel
    cat >peer/include/lz4.h <<'END'
#define LZ4_MAX_INPUT_SIZE 0x7E000000
static inline int LZ4_compressBound(int n) { return n + n / 255 + 16; }
static inline int LZ4_compress_default(const char *in, char *out, int n, int max)
{ (void)in; (void)out; (void)n; (void)max; return 0; }
static inline int LZ4_decompress_safe(const char *in, char *out, int n, int max)
{ (void)in; (void)out; (void)n; (void)max; return -1; }
END
    cp /usr/include/xxhash.h peer/include 2>/dev/null || skip_all 'no xxhash.h'
    [ ! -e /usr/include/xxh3.h ] || cp /usr/include/xxh3.h peer/include
    # musl has no headers of the kernel: those of the system, behind its own.
    for folder in linux asm-generic; do ln -s /usr/include/$folder peer/kernel/$folder; done
    ln -s "/usr/include/$(uname -m)-linux-gnu/asm" peer/kernel/asm
}

# Adds to the list peers.
build_peer() # name compiler...
{
    local name=$1
    shift
    command -v "$1" >/dev/null || { echo "skip: no $1"; return 1; }
    echo 'int main(void) { return 0; }' | "$@" -x c -o peer/try - 2>/dev/null && peer/try ||
        { echo "skip: $* builds nothing that runs here"; return 1; }
    "$@" -std=c11 -O0 -pthread -D_GNU_SOURCE -DKV_BUILDING -Ipeer/include -I"$SRC/include" \
        "${peer_flags[@]}" -idirafter peer/kernel -o "peer/$name" "$SRC"/src/*.c \
        "${peer_sources[@]}" 2>"peer/$name.log" ||
        { fail "$name: $(grep -m 3 error "peer/$name.log")"; return 1; }
    peers+=("peer/$name")
}

build_peers()
{
    peers=()
    peer_headers
    build_peer musl musl-gcc -static
    build_peer m32 gcc -m32
    [ ${#peers[@]} -gt 0 ] || skip_all 'no peer could be built'
}
