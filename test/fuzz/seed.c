/* seed.c - writes the seeds of the fuzz targets anew: seed FOLDER. They only have to reach each part
 * of a target once; the fuzzers find the rest. */
#include "format.h"
#include "image.h"
#include "rng.h"
#include <sys/stat.h>

static const char *folder;

static void write_seed(const char *target, unsigned number, const void *bytes, size_t len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, target);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/%02u", folder, target, number);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, len, file) != len || fclose(file) != 0) {
        perror(path);
        exit(1);
    }
}

/* The forgeries of forge.c by their numbers, on pages that have what they change. */
enum { WAY_LARGE = 8, WAY_ROOT = 12, LEAF_LARGE = 2, LEAF_PACKED = 4, LENGTH_AT = 2, HUGE = 60 };

static unsigned seed_forged(unsigned n)
{
    static const uint8_t leaves[][2] = {{LEAF_LARGE, KVI_ENTRY_LARGE},
                                        {LEAF_PACKED, KVI_ENTRY_LARGE | KVI_ENTRY_COMPRESSED}};
    uint8_t bomb[] = {0,           IMAGE_SMALL,          0,         WAY_LARGE,
                      LEAF_PACKED, KVI_ENTRY_COMPRESSED, LENGTH_AT, HUGE};
    write_seed("file", n++, bomb, sizeof bomb);
    for (uint8_t i = 0; i < 12; i++) { /* each field of a reference, and each of the six roots */
        const uint8_t *leaf = leaves[i % 2];
        uint8_t field = i / 2,
                large[] = {0, IMAGE_SMALL, 0, WAY_LARGE, leaf[0], leaf[1], field, HUGE};
        uint8_t root[] = {0, IMAGE_SPACE, 0, WAY_ROOT, field, i};
        write_seed("file", n++, large, sizeof large);
        write_seed("file", n++, root, sizeof root);
    }
    return n;
}

/* Sound files, each opened in another way; then some with changes of each kind. */
static void seed_file(rng *random)
{
    uint8_t bytes[64];
    unsigned n = seed_forged(0);
    for (unsigned image = 0; image < IMAGE_KINDS; image++)
        write_seed("file", n++, (uint8_t[]){(uint8_t)(1 << image), (uint8_t)image, 0}, 3);
    for (unsigned i = 0; i < 15; i++) {
        rng_fill(random, bytes, sizeof bytes);
        bytes[1] = (uint8_t)i;
        bytes[2] = i % 3 == 0 ? 0 : 2;
        write_seed("file", n++, bytes, 12 + 3 * i);
    }
}

/* Steps in the lower numbers, arguments of any size between them. */
static void seed_steps(rng *random, const char *target, unsigned files, uint8_t steps, size_t len)
{
    uint8_t bytes[1024];
    for (unsigned i = 0; i < files; i++) {
        bytes[0] = (uint8_t)(i * 7);
        for (size_t k = 1; k < len; k++)
            bytes[k] = (uint8_t)rng_below(random, rng_one_in(random, 2) ? steps : 256);
        write_seed(target, i, bytes, len);
    }
}

static void seed_import(void)
{
    static const char *const texts[] = {
        "\0key\tvalue\nother\t\n\ttab\\t\\x00\\\\\n",
        "\0no tab",
        "\0bad\\q\t",
        "\1VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n 6b\n 76\n \n \nDATA=END\n",
        "\3VERSION=3\nformat=print\ndatabase=a\nmapsize=1\nHEADER=END\n a\\5c\n "
        "\\00\\\\\nDATA=END\n"
        "VERSION=3\nformat=print\nHEADER=END\n",
        "\5VERSION=3\ndatabase=\\41\ndb_pagesize=4096\nHEADER=END\n 0\n",
        "\7VERSION=3\nduplicates=1\nHEADER=END\n",
        "\1VERSION=2\n",
    };
    for (unsigned i = 0; i < KVI_COUNT(texts); i++)
        write_seed("import", i, texts[i], 1 + strlen(texts[i] + 1));
}

static void seed_tuple(void)
{
    static const char *const texts[] = {
        "\1()",
        "\1(null, true, false, 0, -1, 1001, 18446744073709551615, -9223372036854775808)",
        "\1(1.5, -1e-300, 0.1, inf, -inf, nan, 1e+22)",
        "\1(\"a\\x00\\t\\\"\\\\\", x\"00ff01\", desc \"b\", desc (1, desc (2.5)), ())",
        "\1(\"user\", (\"al\"...))",
        "\1(1, 2",
        "\2\x39order\x01\x02\x22\x03\xe9",
        "\2\xbf\xde\xfe\x21\x02\xff",
        "\2\x40\x40\x08\x10\x11\x38\x01\x01",
    };
    for (unsigned i = 0; i < KVI_COUNT(texts); i++)
        write_seed("tuple", i, texts[i], strlen(texts[i]));
}

#define BACKUP(bytes)                                                                              \
    {                                                                                              \
        bytes, sizeof(bytes) - 1                                                                   \
    }
#define MAIN "\x01\x00\x00\x00\x00\x00"
#define ALL  MAIN "\x02\x00"
#define NONE "\x06\x02y\x07\x02z" /* of the names */
#define END  "\x05\x00\x06\x00\x07\x00"

typedef struct backup_bytes {
    const char *bytes;
    size_t len;
} backup_bytes;

/* Backups that lead on from each other, to be merged. */
static void seed_chain(unsigned number, uint8_t kind, const backup_bytes *parts, uint8_t n)
{
    uint8_t bytes[512] = {2, kind, n - 1};
    size_t len = 3;
    for (unsigned i = 0; i < n; i++) {
        bytes[len++] = (uint8_t)(i % 3); /* back */
        bytes[len++] = 1;                /* on */
        if (i + 1u < n)
            bytes[len++] = (uint8_t)parts[i].len;
        memcpy(bytes + len, parts[i].bytes, parts[i].len);
        len += parts[i].len;
    }
    write_seed("backup", number, bytes, len);
}

static void seed_chains(unsigned number)
{
    static const backup_bytes entries[] = {
        BACKUP(ALL "\x03\x01"
                   "a\x01z\x04\x01m\x08\x99\xa3\x9e\xd0\x99\x33\x03\x01q\x00" END),
        BACKUP(MAIN
               "\x02\x02"
               "b\x04\x01m\x05\x02n\x02\x02q\x08\xa0\xa3\x9e\xd0\x99\x33\x04\x01q\x05\x02r" NONE),
        BACKUP(MAIN "\x02\x00\x03\x01"
                    "c\x01c\x05\x02m" NONE),
    };
    static const backup_bytes trees[] = {
        BACKUP(ALL "\x05\x00\x06\x00\x01\x01t\x00\x00\x00\x00\x02\x00\x03\x01"
                   "b\x01y\x03\x01"
                   "d\x01y\x05\x00\x07\x02u"),
        BACKUP(MAIN "\x06\x02t\x01\x01t\x00\x01\x64\x03\x02\x02"
                    "c\x05\x02e\x01\x02tt\x01\x00\x00\x00\x02\x00\x05\x00\x07\x02v"),
        BACKUP(MAIN "\x06\x02u\x01\x01v\x00\x00\x00\x00\x02\x00\x03\x01"
                    "a\x00\x05\x00\x07\x00"),
    };
    static const backup_bytes late[] = {
        BACKUP(ALL "\x03\x01k\x01v" END),
        BACKUP(MAIN "\x06\x00\x02\x00\x05\x00\x07\x00"),
    };
    seed_chain(number++, 1, entries, 3);
    seed_chain(number++, 0, entries, 1);
    seed_chain(number++, 2, trees, 3);
    seed_chain(number++, 0, late, 2);
}

/* Records on each of the databases to begin with, sound and not; then whole streams. */
static void seed_backup(void)
{
    static const backup_bytes seeds[] = {
        BACKUP("\0\0" ALL "\x03\x01k\x01v\x03\x02kk\x03"
               "abc" END),
        BACKUP("\0\0" ALL "\x05\x00\x06\x00\x01\x01t\x00\x01\x64\x09\x02\x00\x03\x01"
               "b\x00\x05\x00\x01\x02tt\x00\x00\x00\x00\x02\x00\x05\x00\x07\x00"),
        BACKUP("\0\1\x01\x00\x00\x00\x00\x00\x02\x02"
               "b\x03\x01"
               "c\x01v\x05\x02"
               "n"
               "\x02\x02"
               "p\x05\x00"),
        BACKUP("\0\1" ALL "\x03\x01"
               "a\x01x\x03\x01m\x01z" END),
        BACKUP("\0\1" ALL "\x04\x01"
               "a\x04\x01m" END),
        BACKUP("\0\1" ALL "\x04\x01"
               "b" END),
        BACKUP("\0\2" ALL "\x05\x00\x06\x02t\x07\x02u"),
        BACKUP("\0\2" ALL "\x05\x00\x06\x00\x07\x00"),
        BACKUP("\0\0" ALL "\x03\x01"
               "b\x00\x03\x01"
               "a\x00" END),
        BACKUP("\0\0" ALL "\x03\x01"
               "b\xff\xff\xff\xff\xff\x1f"
               "abc"),
        BACKUP("\1\0kvbk\x1a\x0a\x0d\x8a\x01\x00\x00\x00\x00\x10\x00\x00"),
        BACKUP("\1\1"),
    };
    for (unsigned i = 0; i < KVI_COUNT(seeds); i++)
        write_seed("backup", i, seeds[i].bytes, seeds[i].len);
    seed_chains(KVI_COUNT(seeds));
}

int main(int argc, char **argv)
{
    rng random;
    if (argc != 2) {
        fputs("usage: seed FOLDER\n", stderr);
        return 2;
    }
    folder = argv[1];
    mkdir(folder, 0777);
    rng_seed(&random, 1);
    seed_file(&random);
    seed_steps(&random, "node", 20, 9, 300);
    seed_steps(&random, "ops", 30, 46, 400);
    seed_steps(&random, "side", 20, 14, 80);
    seed_import();
    seed_backup();
    seed_tuple();
    return 0;
}
