/* What the system refuses, in the words of the contract; and codecs that this build does not know. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "codec.h"
#include "db.h"
#include "must.h"
#include "sim_os.h"
#include <errno.h>
#include <stdio.h>

static void test_from_os(void **state)
{
    static const struct {
        int error, result;
    } cases[] = {
        {ENOMEM, KV_ENOMEM},       {ENOSPC, KV_ENOSPC}, {EDQUOT, KV_ENOSPC},
        {EFBIG, KV_ENOSPC},        {ENOENT, KV_ENOENT}, {ENOTDIR, KV_ENOENT},
        {EACCES, KV_EACCESS},      {EPERM, KV_EACCESS}, {EROFS, KV_EACCESS},
        {EAGAIN, KV_EBUSY},        {EEXIST, KV_EXISTS}, {ENAMETOOLONG, KV_EINVAL},
        {ELOOP, KV_EINVAL},        {EIO, KV_EIO},       {EOPNOTSUPP, KV_EUNSUPPORTED},
        {ENOTRECOVERABLE, KV_EIO},
    };
    for (size_t i = 0; i < KVI_COUNT(cases); i++)
        assert_int_equal(kvi_err_from_os(-cases[i].error), cases[i].result);
}

static int lock_error;

static int lock_refused(const kvi_os *os, int fd, int kind, uint64_t off, uint64_t len)
{
    return -lock_error;
}

/* A file system that has no locks of open files. */
static void test_no_locks(void **state)
{
    static const int errors[] = {EINVAL, EOPNOTSUPP, ENOSYS};
    sim_disk *disk = sim_new(1);
    kv_db *db = must_open(disk, "db");
    assert_int_equal(kv_db_close(db), KV_OK);
    disk->os.lock = lock_refused;
    for (size_t i = 0; i < KVI_COUNT(errors); i++) {
        char message[200];
        lock_error = errors[i];
        assert_int_equal(kvi_db_open(sim_os(disk), "db", NULL, &db, message, sizeof message),
                         KV_EUNSUPPORTED);
        assert_non_null(strstr(message, "no OFD locks"));
    }
    sim_free(disk);
}

static void test_unknown_codec(void **state)
{
    static const unsigned unknown[] = {0, KVI_CODEC_LZ4 + 1, UINT8_MAX};
    uint8_t in[100] = {0}, out[200];
    kvi_slice bytes = {in, sizeof in};
    size_t len = kvi_codec_compress(KVI_CODEC_LZ4, bytes, out, sizeof out);
    assert_in_range(len, 1, sizeof in - 1);
    kvi_slice packed = {out, len};
    for (size_t i = 0; i < KVI_COUNT(unknown); i++) {
        uint8_t room[sizeof in];
        assert_int_equal(kvi_codec_input_max(unknown[i]), 0);
        assert_int_equal(kvi_codec_bound(unknown[i], sizeof in), 0);
        assert_int_equal(kvi_codec_compress(unknown[i], bytes, room, sizeof room), 0);
        assert_false(kvi_codec_plausible(unknown[i], len, sizeof in));
        assert_false(kvi_codec_decompress(unknown[i], packed, room, sizeof room));
    }
    assert_true(kvi_codec_decompress(KVI_CODEC_LZ4, packed, in, sizeof in));
    assert_false(kvi_codec_decompress(KVI_CODEC_LZ4, packed, in, sizeof in - 1));
    assert_false(kvi_codec_plausible(KVI_CODEC_LZ4, (uint64_t)INT32_MAX + 1, sizeof in));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_from_os),
        cmocka_unit_test(test_no_locks),
        cmocka_unit_test(test_unknown_codec),
    };
    return cmocka_run_group_tests_name("errors", tests, NULL, NULL);
}
