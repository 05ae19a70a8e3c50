/* mounts.h - what the kernel tells of the mounted file systems. */
#ifndef KVI_MOUNTS_H
#define KVI_MOUNTS_H

#include <stdbool.h>
#include <stdio.h>

/* Is the file system of this device ("MAJOR:MINOR") one that other machines may use at the same time,
 * by its type? mounts: text of /proc/PID/mountinfo, see proc(5). For FUSE, behind which anything may
 * be: what is not known by name counts as local. */
bool kvi_mounts_shared(FILE *mounts, const char *device);

#endif
