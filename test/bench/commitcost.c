/* commitcost.c - a thousand durable one-record commits, marked for commit_cost.sh, which counts from
 * outside what each asks of the kernel. The marker is a system call that nothing here uses. */
#include "bench.h"

#include <sys/syscall.h>
#include <unistd.h>

enum { STEADY = 2000 };

static void replace_one(const struct options *o, const struct engine *e, struct store *s,
                        uint64_t number, uint64_t version)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    bench_key(o, number, key);
    bench_value(o, number, version, value);
    e->write_begin(s);
    e->put(s, key, value, o->value_len);
    e->write_commit(s);
}

int bench_commit_cost(const struct options *o)
{
    const struct engine *e = o->engines[0];
    struct order order = bench_order(o->n, 6);
    char path[4096];
    if (o->n < STEADY + o->commits)
        bench_die("commitcost needs --n %llu or more", (unsigned long long)(STEADY + o->commits));
    bench_path(path, sizeof path, o, e->name, "commitcost");
    bench_remove(path);
    struct store *s = e->open(o, path, 0);
    bench_load(o, e, s, false);
    for (uint64_t i = 0; i < STEADY; i++) /* until the free space is as it stays */
        replace_one(o, e, s, bench_order_at(&order, i), 1);
    for (uint64_t i = 0; i < o->commits; i++) {
        syscall(SYS_getppid);
        replace_one(o, e, s, bench_order_at(&order, STEADY + i), 2);
    }
    syscall(SYS_getppid);
    printf("%s commits %llu height %u page %u\n", e->name, (unsigned long long)o->commits,
           e->height(s), e->page_size(s));
    e->close(s);
    bench_remove(path);
    return 0;
}
