/* file.c - target `file`: a sound file, changed by the input behind right checksums, is opened
 * read-only and for writing. */
#include "exam.h"
#include "forge.h"

#define CHANGES 24

int fuzz_file(const uint8_t *data, size_t len)
{
    static sim_disk *disk;
    fuzz_in in = {data, data + len};
    if (!disk)
        disk = exam_disk();
    unsigned plan = (unsigned)fuzz_take(&in, 1);
    sim_reset(disk);
    forge_file(disk, &in, CHANGES);
    exam_file(disk, plan);
    return 0;
}
