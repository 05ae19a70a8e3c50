/* What the kernel tells of the mounted file systems, and which of them other machines use, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bytes.h"
#include "mounts.h"
#include <stdlib.h>
#include <string.h>

static bool shared(const char *text, const char *device)
{
    char *copy = strdup(text);
    FILE *file = fmemopen(copy, strlen(copy), "r");
    assert_non_null(file);
    bool result = kvi_mounts_shared(file, device);
    fclose(file);
    free(copy);
    return result;
}

#define ROOT "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
#define SSH  "90 22 0:51 / /far rw,nosuid shared:7 master:2 - fuse.sshfs me@host:/a rw,user_id=0\n"
#define NTFS "91 22 0:52 / /disk rw - fuseblk /dev/sdb1 rw,user_id=0\n"

static void one_device_among_many(void **state)
{
    static const struct {
        const char *text, *device;
        bool shared;
    } cases[] = {
        {ROOT SSH NTFS, "0:51", true},
        {NTFS ROOT SSH, "0:51", true},
        {ROOT SSH NTFS, "0:52", false},
        {ROOT SSH NTFS, "8:1", false},
        {ROOT SSH NTFS, "0:5", false},
        {ROOT SSH NTFS, "0:511", false},
        {ROOT NTFS, "0:51", false},
        {"\n", "0:51", false},
        /* without a tag; without a last newline; cut off */
        {"90 22 0:51 / /far rw - virtiofs tag rw\n", "0:51", true},
        {"90 22 0:51 / /far rw - fuse.glusterfs", "0:51", true},
        {"90 22 0:51 / /far rw -", "0:51", false},
        {"90 22 0:51 / /far rw - ", "0:51", false},
        /* names that look like something else */
        {"90 22 0:51 / - rw - fuse.mine fuse.sshfs fuse.sshfs\n", "0:51", false},
        {"90 22 0:51 - fuse.sshfs rw - fuse.mine x rw\n", "0:51", false},
        {"90 22 0:51 / /far rw fuse.sshfs - fuse.mine x rw\n", "0:51", false},
        {"0:51 22 8:1 / /far rw - fuse.sshfs x rw\n", "0:51", false},
        {"90 22 0:51 / /far rw - fuse.sshfs2 x rw\n", "0:51", false},
        {"90 22 0:51 / /far rw - fuse.mine - fuse.sshfs\n", "0:51", false},
        {"90 22 0:51 / /far rw - fuse.sshf x rw\n", "0:51", false},
    };
    (void)state;
    for (size_t i = 0; i < KVI_COUNT(cases); i++)
        if (shared(cases[i].text, cases[i].device) != cases[i].shared)
            fail_msg("%s in\n%s", cases[i].device, cases[i].text);
}

/* Paths are as long as they please. */
static void long_words(void **state)
{
    char text[9000];
    (void)state;
    memset(text, 'x', sizeof text);
    memcpy(text, "90 22 0:51 / /", 14);
    strcpy(text + 8000, " rw shared:1 - fuse.sshfs host: rw\n");
    assert_true(shared(text, "0:51"));
    strcpy(text + 8000, " rw shared:1 - fuse.local host: rw\n" SSH);
    assert_true(shared(text, "0:51"));
    text[14 + 63] = ' ';
    assert_true(shared(text, "0:51"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_device_among_many),
        cmocka_unit_test(long_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
