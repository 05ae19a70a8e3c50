/* forge.h - damage behind right checksums, as only a forger makes it: an input is a list of changes
 * to a sound file, after which checksums, and where the input asks for it births and the seal, are
 * made right again, so that what is behind those tests is reached. */
#ifndef FORGE_H
#define FORGE_H

#include "fuzz.h"
#include "image.h"
#include "surgeon.h"

/* The changed file goes on the disk as IMAGE_NAME. At most max changes are taken from the input. */
void forge_file(sim_disk *disk, fuzz_in *in, unsigned max);

#endif
