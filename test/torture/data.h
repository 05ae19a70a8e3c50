/* data.h - what the parts of the data set share. */
#ifndef DATA_H
#define DATA_H

#include "torture.h"

struct name {
    char text[8];
    size_t len;
};

extern const struct bytes torture_sum_key; /* of what every commit changes */

struct name torture_name(char letter, uint64_t number);
struct bytes torture_key(const struct name *name);

uint64_t torture_entry_hash(struct bytes key, struct bytes value);

/* A value of a known length; zeros: there is none. */
enum result torture_get_fixed(const struct engine *engine, void *view, struct bytes key, void *out,
                              size_t len);

/* Stores an entry that does not expire, and keeps the sum right. */
enum result torture_replace(const struct engine *engine, void *view, struct bytes key,
                            struct bytes value, struct sum *sum);

/* A random value, good until the next one. */
struct bytes torture_random_value(rng *dice);

/* ---- expiry.c: entries that expire ---- */

/* Takes an entry of a snapshot, if it is about expiry; true: it is one that expires, and not part of
 * the sum. */
bool torture_read_expiring(struct reading *reading, struct bytes key, struct bytes value);

/* Judges the time of a snapshot, and whether what expires keeps to it. */
bool torture_time_is_right(const struct reading *reading, uint64_t least, uint32_t me);

enum result torture_change_expiring(const struct engine *engine, void *view, uint32_t me, rng *dice,
                                    struct sum *sum);

#endif
