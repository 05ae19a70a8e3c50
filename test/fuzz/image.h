/* image.h - sound files to be forged: small, made once, of every kind of page. */
#ifndef IMAGE_H
#define IMAGE_H

#include "kv.h"
#include "sim_os.h"

#define IMAGE_NAME "hostile.kv"

enum image_kind {
    IMAGE_EMPTY,  /* one tree without an entry */
    IMAGE_SMALL,  /* leaves, large and compressed values, named trees */
    IMAGE_DEEP,   /* three levels of branches */
    IMAGE_SPACE,  /* log, map and chain of blocked pages */
    IMAGE_SEALED, /* killed: the newest commit must be walked */
    IMAGE_KINDS
};

/* The file, made at the first call; it lives until the program ends. */
kvi_slice image_of(enum image_kind kind);

#endif
