/* load.c - filling a store and reading all of it back, for the modes that begin or end so. */
#include "bench.h"

#include <string.h>

void bench_load(const struct options *o, const struct engine *e, struct store *s, bool sorted)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    struct order order = bench_order(o->n, 1);
    e->write_begin(s);
    for (uint64_t i = 0; i < o->n; i++) {
        uint64_t number = sorted ? i : bench_order_at(&order, i);
        bench_key(o, number, key);
        bench_value(o, number, 0, value);
        (sorted ? e->append : e->put)(s, key, value, o->value_len);
    }
    e->write_commit(s);
}

struct verifier {
    const struct options *o;
    uint64_t next; /* number of the record that must come now */
    uint64_t step;
    uint64_t version;
    uint64_t seen, wrong;
};

static void verify_record(void *context, const void *key, const void *value, size_t value_len)
{
    struct verifier *v = context;
    unsigned char right_key[KEY_MAX], right_value[VALUE_MAX];
    bench_key(v->o, v->next, right_key);
    bench_value(v->o, v->next, v->version, right_value);
    if (memcmp(key, right_key, v->o->key_len) != 0 || value_len != v->o->value_len ||
        memcmp(value, right_value, value_len) != 0)
        v->wrong++;
    v->next += v->step;
    v->seen++;
}

void bench_verify_every(const struct options *o, const struct engine *e, struct store *s,
                        int reader, uint64_t version, uint64_t step)
{
    struct verifier v = {.o = o, .step = step, .version = version};
    uint64_t expected = (o->n + step - 1) / step;
    e->each(s, reader, verify_record, &v);
    if (v.wrong > 0 || v.seen != expected)
        bench_die("%s: of %llu records that should be %llu, %llu are wrong", e->name,
                  (unsigned long long)v.seen, (unsigned long long)expected,
                  (unsigned long long)v.wrong);
}

void bench_verify(const struct options *o, const struct engine *e, struct store *s, int reader,
                  uint64_t version)
{
    bench_verify_every(o, e, s, reader, version, 1);
}

void bench_write_one(const struct options *o, const struct engine *e, struct store *s,
                     const unsigned char *key, const unsigned char *value)
{
    if (e->write_one) {
        e->write_one(s, key, value, o->value_len);
        return;
    }
    e->write_begin(s);
    e->put(s, key, value, o->value_len);
    e->write_commit(s);
}
