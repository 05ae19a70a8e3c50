/* main.c - runs a target on files, or under AFL++ in its persistent mode: one process, many inputs. */
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#ifdef __AFL_COMPILER
/* AFL++ brings the code of these */
#pragma clang diagnostic ignored "-Wsign-compare"
#pragma clang diagnostic ignored "-Wcast-qual"
#pragma clang diagnostic ignored "-Wshorten-64-to-32"
__AFL_FUZZ_INIT();

static void serve(void)
{
    __AFL_INIT();
    const uint8_t *data = __AFL_FUZZ_TESTCASE_BUF;
    while (__AFL_LOOP(10000)) {
        size_t len = (size_t)__AFL_FUZZ_TESTCASE_LEN;
        LLVMFuzzerTestOneInput(data, len);
    }
}
#else
static void serve(void)
{
    fputs("usage: FILE...\n", stderr);
    exit(2);
}
#endif

static void run_file(const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    size_t len = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    uint8_t *exact = malloc(len + !len); /* so that a step behind the end is seen */
    if (!exact)
        exit(1);
    memcpy(exact, bytes, len);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        serve();
    for (int i = 1; i < argc; i++)
        run_file(argv[i]);
    return 0;
}
