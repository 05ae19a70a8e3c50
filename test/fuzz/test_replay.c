/* Every seed of the fuzz targets, and every input that once found a bug: test/fuzz/seeds/TARGET and
 * test/fuzz/found/TARGET. An input that finds one again ends the program; its name was printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX ((size_t)1 << 20)

static void replay_file(const char *path, int (*target)(const uint8_t *data, size_t len))
{
    uint8_t *bytes = malloc(INPUT_MAX);
    FILE *file = fopen(path, "rb");
    assert_true(bytes && file);
    size_t len = fread(bytes, 1, INPUT_MAX, file);
    fclose(file);
    uint8_t *exact = malloc(len + !len); /* so that a step behind the end is seen */
    assert_non_null(exact);
    memcpy(exact, bytes, len);
    free(bytes);
    fuzz_input = path;
    assert_int_equal(target(exact, len), 0);
    fuzz_input = NULL;
    free(exact);
}

/* Returns how many there were. */
static unsigned replay_folder(const char *kind, const char *name,
                              int (*target)(const uint8_t *data, size_t len))
{
    char path[1024];
    unsigned n = 0;
    snprintf(path, sizeof path, "test/fuzz/%s/%s", kind, name);
    DIR *folder = opendir(path);
    if (!folder)
        return 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "test/fuzz/%s/%s/%s", kind, name, entry->d_name);
        replay_file(path, target);
        n++;
    }
    closedir(folder);
    return n;
}

static void replay(const char *name, int (*target)(const uint8_t *data, size_t len))
{
    unsigned seeds = replay_folder("seeds", name, target);
    unsigned found = replay_folder("found", name, target);
    print_message("%s: %u seeds, %u findings\n", name, seeds, found);
    assert_true(seeds > 0);
}

static void test_backup(void **state)
{
    replay("backup", fuzz_backup);
}

static void test_file(void **state)
{
    replay("file", fuzz_file);
}

static void test_node(void **state)
{
    replay("node", fuzz_node);
}

static void test_import(void **state)
{
    replay("import", fuzz_import);
}

static void test_ops(void **state)
{
    replay("ops", fuzz_ops);
}

static void test_side(void **state)
{
    replay("side", fuzz_side);
}

static void test_tuple(void **state)
{
    replay("tuple", fuzz_tuple);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backup), cmocka_unit_test(test_file), cmocka_unit_test(test_node),
        cmocka_unit_test(test_import), cmocka_unit_test(test_ops),  cmocka_unit_test(test_side),
        cmocka_unit_test(test_tuple),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
