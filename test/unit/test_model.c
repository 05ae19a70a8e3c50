/* Tests of the oracle, test/support/model.h, against an array searched from end to end. */
#include "model.h"
#include "rng.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define KEYS 64 /* different ones, so that operations meet */

/* ---- the naive twin: value 0 = absent ---- */

typedef struct naive {
    unsigned values[KEYS];
} naive;

static kvi_slice key_of(unsigned i)
{
    static char text[8][16];
    static unsigned next;
    char *buf = text[next++ % 8];
    /* lengths differ, so that some keys are prefixes of others */
    snprintf(buf, 16, "k%02u%.*s", i / 2, (int)(i % 2), "x");
    return model_text(buf);
}

static kvi_slice value_of(const unsigned *value)
{
    return kvi_slice_of(value, sizeof *value);
}

static bool slice_equal(kvi_slice a, kvi_slice b)
{
    return kvi_slice_compare(a, b) == 0;
}

static void check_against(const model_tree *tree, const naive *twin)
{
    model_sum sum = {0, 0, 0};
    uint64_t before = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        kvi_slice key = key_of(i), got_key, got;
        bool here = twin->values[i] != 0;
        assert_int_equal(model_rank(tree, key), before);
        assert_int_equal(model_rank_after(tree, key), before + here);
        assert_int_equal(model_get(tree, key, &got), here);
        if (!here)
            continue;
        assert_true(slice_equal(got, value_of(&twin->values[i])));
        assert_true(model_nth(tree, before, &got_key, &got));
        assert_true(slice_equal(got_key, key));
        assert_true(slice_equal(got, value_of(&twin->values[i])));
        model_sum_add(&sum, key, got);
        before++;
    }
    assert_false(model_nth(tree, before, NULL, NULL));
    assert_true(model_sum_equal(tree->sum, sum));
    assert_int_equal(tree->sum.entries, before);
}

static const model_tree *main_tree(const model_state *state)
{
    return model_tree_of(state, MODEL_MAIN);
}

static uint64_t naive_del_range(naive *twin, unsigned from, unsigned to)
{
    uint64_t n = 0;
    for (unsigned i = from; i < to; i++) {
        n += twin->values[i] != 0;
        twin->values[i] = 0;
    }
    return n;
}

static void random_change(model *m, naive *twin, rng *random)
{
    unsigned i = (unsigned)rng_below(random, KEYS);
    unsigned value = 1 + (unsigned)rng_below(random, 5);
    if (rng_one_in(random, 40)) {
        unsigned to = i + (unsigned)rng_below(random, 12);
        kvi_slice end = to < KEYS ? key_of(to) : key_of(0);
        uint64_t n = model_del_range(m, MODEL_MAIN, key_of(i), to < KEYS ? &end : NULL);
        assert_int_equal(n, naive_del_range(twin, i, KVI_MIN(to, KEYS)));
    } else if (rng_one_in(random, 3)) {
        assert_int_equal(model_del(m, MODEL_MAIN, key_of(i)), twin->values[i] != 0);
        twin->values[i] = 0;
    } else {
        assert_int_equal(model_put(m, MODEL_MAIN, key_of(i), value_of(&value)),
                         twin->values[i] != 0);
        twin->values[i] = value;
    }
}

static void answers_as_the_naive_twin(void **state)
{
    rng random;
    rng_seed(&random, rng_choose_seed(1));
    model *m = model_new();
    naive twin = {{0}};
    for (int i = 0; i < 4000; i++) {
        random_change(m, &twin, &random);
        check_against(main_tree(m->now), &twin);
    }
    model_free(m);
}

static void commits_keep_what_they_saw(void **state)
{
    enum { COMMITS = 300 };
    rng random;
    rng_seed(&random, rng_choose_seed(2));
    model *m = model_new();
    naive twin = {{0}};
    naive *twins = calloc(COMMITS, sizeof *twins);
    for (int i = 0; i < COMMITS; i++) {
        for (int changes = 0; changes < 5; changes++)
            random_change(m, &twin, &random);
        model_commit_as(m, (uint64_t)i * 10 + 10);
        twins[i] = twin;
    }
    for (int i = 0; i < COMMITS; i++)
        check_against(main_tree(model_at(m, (uint64_t)i * 10 + 10)), &twins[i]);
    assert_null(model_at(m, 11));
    assert_null(model_at(m, 0));
    model_forget_before(m, 1000);
    model_forget_after(m, 2000);
    assert_null(model_at(m, 990));
    assert_null(model_at(m, 2010));
    check_against(main_tree(model_at(m, 1000)), &twins[99]);
    check_against(main_tree(model_at(m, 2000)), &twins[199]);
    check_against(main_tree(m->now), &twin);
    model_commit_as(m, 2001);
    model_free(m);
    free(twins);
}

static void savepoints_nest(void **state)
{
    rng random;
    rng_seed(&random, rng_choose_seed(3));
    model *m = model_new();
    naive twins[6] = {{{0}}};
    model_state *kept[6];
    for (int i = 0; i < 6; i++) {
        kept[i] = model_keep(m);
        if (i)
            twins[i] = twins[i - 1];
        if (i < 5)
            for (int changes = 0; changes < 20; changes++)
                random_change(m, &twins[i], &random);
    }
    for (int i = 5; i > 0; i--) {
        model_restore(m, kept[i]);
        check_against(main_tree(m->now), &twins[i - 1]);
    }
    model_restore(m, kept[0]);
    assert_int_equal(main_tree(m->now)->sum.entries, 0);
    for (int i = 0; i < 6; i++)
        model_release(kept[i]);
    model_free(m);
}

static void equal_contents_are_equal_whatever_the_order(void **state)
{
    model *a = model_new(), *b = model_new();
    unsigned one = 1, two = 2;
    for (unsigned i = 0; i < KEYS; i++) {
        model_put(a, MODEL_MAIN, key_of(i), value_of(&one));
        model_put(b, MODEL_MAIN, key_of(KEYS - 1 - i), value_of(&two));
    }
    kvi_slice key;
    assert_false(model_state_equal(a->now, b->now));
    for (unsigned i = 0; i < KEYS; i++)
        model_put(b, MODEL_MAIN, key_of(i), value_of(&one));
    assert_true(model_state_equal(a->now, b->now));
    assert_int_equal(model_state_hash(a->now), model_state_hash(b->now));
    assert_false(model_difference(main_tree(a->now), main_tree(b->now), &key));

    /* a sum knows which value belongs to which key */
    model_put(a, MODEL_MAIN, key_of(1), value_of(&two));
    model_put(b, MODEL_MAIN, key_of(2), value_of(&two));
    assert_false(model_state_equal(a->now, b->now));
    assert_true(model_difference(main_tree(a->now), main_tree(b->now), &key));
    assert_true(slice_equal(key, key_of(1)));
    model_put(a, MODEL_MAIN, key_of(2), value_of(&two));
    model_put(b, MODEL_MAIN, key_of(1), value_of(&two));
    assert_true(model_state_equal(a->now, b->now));
    model_put(a, MODEL_MAIN, model_text("ab"), model_text("c"));
    model_put(b, MODEL_MAIN, model_text("a"), model_text("bc"));
    assert_false(model_state_equal(a->now, b->now));
    assert_true(model_difference(main_tree(a->now), main_tree(b->now), &key));
    assert_true(slice_equal(key, model_text("a")));
    model_free(a);
    model_free(b);
}

static void differences_are_found_at_the_end_and_in_values(void **state)
{
    model *m = model_new();
    kvi_slice key;
    model_put(m, MODEL_MAIN, model_text("a"), model_text("1"));
    model_state *before = model_keep(m);
    model_put(m, MODEL_MAIN, model_text("b"), model_text("2"));
    assert_true(model_difference(main_tree(before), main_tree(m->now), &key));
    assert_true(slice_equal(key, model_text("b")));
    assert_true(model_difference(main_tree(m->now), main_tree(before), &key));
    assert_true(slice_equal(key, model_text("b")));
    model_release(before);

    before = model_keep(m);
    model_put(m, MODEL_MAIN, model_text("a"), model_text("other"));
    assert_true(model_difference(main_tree(before), main_tree(m->now), &key));
    assert_true(slice_equal(key, model_text("a")));
    model_release(before);
    model_free(m);
}

static void trees_are_created_dropped_and_renamed(void **state)
{
    model *m = model_new();
    kvi_slice red = model_text("red"), blue = model_text("blue"), got;
    assert_false(model_tree_create(m, MODEL_MAIN));
    assert_false(model_tree_drop(m, MODEL_MAIN));
    assert_false(model_tree_rename(m, MODEL_MAIN, red));
    assert_true(model_tree_create(m, red));
    assert_false(model_tree_create(m, red));
    model_put(m, red, model_text("k"), model_text("v"));
    model_commit_as(m, 1);
    model_state *first = model_keep(m);

    assert_true(model_tree_rename(m, red, blue));
    assert_null(model_tree_of(m->now, red));
    assert_true(model_get(model_tree_of(m->now, blue), model_text("k"), &got));
    assert_true(slice_equal(got, model_text("v")));
    assert_true(slice_equal(model_tree_name(model_tree_of(m->now, blue)), blue));
    assert_false(model_state_equal(m->now, first));
    assert_true(model_state_hash(m->now) != model_state_hash(first));
    assert_false(model_tree_rename(m, red, blue));

    assert_true(model_tree_create(m, red));
    assert_false(model_tree_rename(m, red, blue));
    model_tree_clear(m, blue);
    assert_int_equal(model_tree_of(m->now, blue)->sum.entries, 0);
    assert_true(model_tree_drop(m, blue));
    assert_false(model_tree_drop(m, blue));
    model_put(m, red, model_text("k"), model_text("v"));
    assert_true(model_state_equal(m->now, first));
    assert_true(model_get(model_tree_of(model_at(m, 1), red), model_text("k"), NULL));
    model_release(first);
    model_free(m);
}

typedef struct visits {
    unsigned n, stop_after;
    kvi_slice last;
} visits;

static bool visit(void *context, kvi_slice key, kvi_slice value)
{
    visits *v = context;
    if (v->n > 0)
        assert_true(kvi_slice_compare(v->last, key) < 0);
    v->last = key;
    return ++v->n != v->stop_after;
}

static void each_visits_in_order_until_told_to_stop(void **state)
{
    model *m = model_new();
    unsigned value = 1;
    for (unsigned i = 0; i < KEYS; i++)
        model_put(m, MODEL_MAIN, key_of(i * 7 % KEYS), value_of(&value));
    visits all = {0}, some = {.stop_after = 10};
    assert_true(model_each(main_tree(m->now), visit, &all));
    assert_int_equal(all.n, KEYS);
    assert_false(model_each(main_tree(m->now), visit, &some));
    assert_int_equal(some.n, 10);
    model_free(m);
}

static void empty_keys_and_values_are_legal(void **state)
{
    model *m = model_new();
    kvi_slice empty = {NULL, 0}, got;
    assert_false(model_put(m, MODEL_MAIN, empty, empty));
    assert_true(model_get(main_tree(m->now), empty, &got));
    assert_int_equal(got.len, 0);
    assert_int_equal(main_tree(m->now)->sum.entries, 1);
    assert_true(model_put(m, MODEL_MAIN, empty, model_text("x")));
    assert_int_equal(model_rank(main_tree(m->now), model_text("a")), 1);
    assert_true(model_del(m, MODEL_MAIN, empty));
    assert_false(model_del(m, MODEL_MAIN, empty));
    model_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_as_the_naive_twin),
        cmocka_unit_test(commits_keep_what_they_saw),
        cmocka_unit_test(savepoints_nest),
        cmocka_unit_test(equal_contents_are_equal_whatever_the_order),
        cmocka_unit_test(differences_are_found_at_the_end_and_in_values),
        cmocka_unit_test(trees_are_created_dropped_and_renamed),
        cmocka_unit_test(each_visits_in_order_until_told_to_stop),
        cmocka_unit_test(empty_keys_and_values_are_legal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
