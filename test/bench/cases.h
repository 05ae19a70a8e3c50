/* cases.h - what the files of cases share. A case takes the options, an engine and the path of the
 * file it works on. */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H

#include "bench.h"

#include <math.h>

typedef struct measure bench_run(const struct options *o, const struct engine *e, const char *path);

static inline struct measure rate(uint64_t operations, double seconds)
{
    return (struct measure){(double)operations / seconds, operations, seconds};
}

/* The engine cannot do that. */
static inline struct measure not_available(void)
{
    return (struct measure){NAN, 0, 0};
}

enum { VERSION_OVERWRITTEN = 6 }; /* of all records, after the case of that name */

/* Seconds; they die when an answer is wrong. Gets go on at the beginning of their order behind its
 * end. */
double bench_time_gets(const struct options *o, const struct engine *e, struct store *s, int reader,
                       uint64_t first, uint64_t count, uint64_t version);
double bench_time_scan(const struct options *o, const struct engine *e, struct store *s,
                       uint64_t (*scan)(struct store *s, uint64_t *records), uint64_t version);
/* The first so many records of a random order have that version. */
void bench_verify_commits(const struct options *o, const struct engine *e, struct store *s,
                          uint64_t done, uint64_t seed, uint64_t version);

/* cases.c: bytes of the file for one of keys and values */
bench_run bench_size;
/* cases_read.c */
bench_run bench_get_cold, bench_get_dependent, bench_get_begin, bench_get_miss, bench_get_many,
    bench_scan_back, bench_scan_back_batch, bench_seek_10, bench_seek_100, bench_len,
    bench_open_get, bench_beyond_get, bench_beyond_many, bench_get_fragmented,
    bench_scan_fragmented;
/* cases_crowd.c */
bench_run bench_get_threads, bench_get_threads_4, bench_get_threads_8, bench_get_threads_16,
    bench_get_threads_32, bench_get_processes, bench_commit_threads, bench_commit_processes;
/* cases_write.c */
bench_run bench_commit_1000, bench_overwrite, bench_load_large, bench_get_large, bench_trees,
    bench_command_get;
/* cases_retain.c */
bench_run bench_retain, bench_compact, bench_size_left;
/* cases_mixed.c */
bench_run bench_crud, bench_crud_lazy, bench_get_writing;
/* ycsb.c */
bench_run bench_ycsb_load, bench_ycsb_a, bench_ycsb_b, bench_ycsb_c, bench_ycsb_d, bench_ycsb_e,
    bench_ycsb_f;

#endif
