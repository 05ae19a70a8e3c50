/* driver_group.c - see driver_group.h. */
#include "driver_group.h"
#include "api.h"
#include "driver_clock.h"
#include "driver_op.h"
#include "group.h"
#include "multi_steps.h"
#include <stdlib.h>

#define BATCHES     4
#define OPS         6
#define ANSWER_ROOM ((size_t)1 << 19)
#define KEY_LONG    16384 /* longer than any page size allows */

typedef struct batch_group {
    driver *d;
    kvi_member members[BATCHES];
    size_t n;
    kv_op ops[BATCHES][OPS];
    kv_op_result results[BATCHES][OPS];
} batch_group;

/* ---- building ---- */

static kv_slice pick_key(driver *d)
{
    static uint8_t room[KEY_LONG];
    return driver_copy_of(driver_pick_key(d, room));
}

static const uint32_t kinds[] = {KV_OP_PUT,          KV_OP_PUT,           KV_OP_PUT,
                                 KV_OP_DEL,          KV_OP_DEL_RANGE,     KV_OP_DEL_PREFIX,
                                 KV_OP_CHECK_ABSENT, KV_OP_CHECK_PRESENT, KV_OP_CHECK_VALUE};

static uint32_t pick_flags(driver *d, uint32_t kind)
{
    uint32_t flags = 0;
    if (kind == KV_OP_PUT && !rng_one_in(&d->r, 4))
        flags = KV_OP_CREATE_TREE;
    if (kind == KV_OP_PUT && rng_one_in(&d->r, 8))
        flags |= (uint32_t)rng_between(&d->r, KV_PUT_ABSENT, KV_PUT_PRESENT);
    if (kind == KV_OP_DEL && rng_one_in(&d->r, 8))
        flags = KV_PUT_PRESENT;
    return flags;
}

/* A key for which a check holds, more often than not. */
static void fit_check(driver *d, kv_op *op)
{
    kvi_slice key, value;
    const model_tree *tree = model_tree_of(d->m->now, kvi_slice_of(op->tree.ptr, op->tree.len));
    if (op->kind < KV_OP_CHECK_PRESENT || !tree || tree->sum.entries == 0 || rng_one_in(&d->r, 4) ||
        !model_nth(tree, rng_below(&d->r, tree->sum.entries), &key, &value))
        return;
    free((void *)(uintptr_t)op->key.ptr);
    free((void *)(uintptr_t)op->value.ptr);
    op->key = driver_copy_of(key);
    op->value = driver_copy_of(value);
}

static void op_build(driver *d, kv_op *op)
{
    kvi_slice tree = driver_pick_tree(d);
    uint32_t kind = kinds[rng_below(&d->r, KVI_COUNT(kinds))];
    bool range = kind == KV_OP_DEL_RANGE || kind == KV_OP_DEL_PREFIX;
    if (range && (!d->shape.ranges || !rng_one_in(&d->r, 8)))
        kind = KV_OP_PUT;
    *op = (kv_op){.kind = kind,
                  .flags = pick_flags(d, kind),
                  .tree = driver_copy_of(tree),
                  .key = pick_key(d),
                  .value = driver_copy_of(driver_pick_value(d)),
                  .end = pick_key(d)};
    fit_check(d, op);
    if (op->kind == KV_OP_PUT && d->shape.expiry && rng_one_in(&d->r, 3))
        driver_op_expiry(d, op);
    if (op->kind == KV_OP_PUT && rng_one_in(&d->r, 60)) {
        static const uint8_t zeros[KEY_LONG];
        free((void *)(uintptr_t)op->key.ptr);
        op->key = driver_copy_of((kvi_slice){zeros, KEY_LONG});
    }
}

/* Half of them look at a value before they change it; some answer. */
static void op_pick(driver *d, kv_op *op, kv_op_result *result)
{
    static uint8_t room[BATCHES * OPS][ANSWER_ROOM];
    static unsigned turn;
    if (d->shape.trees && rng_one_in(&d->r, 8)) {
        multi_op_build(d, op);
        return;
    }
    if (rng_one_in(&d->r, 2)) {
        op_build(d, op);
        return;
    }
    driver_op_build(d, driver_pick_tree(d), op);
    bool pops = op->kind == KV_OP_POP_FIRST || op->kind == KV_OP_POP_LAST;
    if (op->kind != KV_OP_PUT && op->kind != KV_OP_DEL && op->kind < KV_OP_POP_FIRST &&
        !rng_one_in(&d->r, 4))
        op->flags |= KV_OP_CREATE_TREE;
    bool answers = op->kind < KV_OP_AND || op->kind == KV_OP_APPEND || pops;
    if (!answers || rng_one_in(&d->r, 3))
        return;
    *result = (kv_op_result){.room = room[turn++ % (BATCHES * OPS)], .room_size = ANSWER_ROOM};
    op->result = result;
}

/* One of the members asks for what flags say, the others for as little as can be. */
static void group_build(batch_group *g, driver *d, uint32_t flags)
{
    g->d = d;
    g->n = (size_t)rng_between(&d->r, 1, BATCHES);
    size_t demanding = (size_t)rng_below(&d->r, g->n);
    for (size_t i = 0; i < g->n; i++) {
        size_t n = (size_t)rng_between(&d->r, 1, OPS);
        for (size_t k = 0; k < n; k++)
            op_pick(d, &g->ops[i][k], &g->results[i][k]);
        g->members[i] = (kvi_member){
            .ops = g->ops[i],
            .n = n,
            .durability = i == demanding ? kvi_durability_of(d->db, flags) : KV_LAZY,
            .next = i + 1 < g->n ? &g->members[i + 1] : NULL,
        };
    }
}

static void group_free(batch_group *g)
{
    for (size_t i = 0; i < g->n; i++)
        for (size_t k = 0; k < g->members[i].n; k++)
            driver_op_free(&g->ops[i][k]);
}

/* ---- running ---- */

static void run_alone(driver *d, kvi_member *member, uint32_t flags)
{
    kv_write_result result = {.size = sizeof result};
    member->rc = kv_db_write(d->db, member->ops, member->n, flags, &result);
    member->failed_op = result.failed_op;
    member->commit_id = result.commit_id;
    member->deleted = result.deleted;
}

static void run_together(driver *d, batch_group *g)
{
    kv_txn *txn;
    int rc = kvi_begin_write(d->db, KVI_WAIT_FOREVER, KV_LAZY, &txn);
    if (rc == KV_OK)
        kvi_group_run(txn, g->members);
    for (size_t i = 0; i < g->n && rc != KV_OK; i++)
        g->members[i].rc = rc;
}

/* ---- what the model makes of it ---- */

/* The whole batch or nothing, as the database should have done it; *agrees: with the same answers. */
static kvi_member model_batch(model *m, const kvi_member *member, bool *agrees)
{
    kvi_member expect = {.n = member->n, .ops = member->ops};
    model_answer answer = {0};
    model_state *before = model_keep(m);
    *agrees = true;
    while (expect.rc == KV_OK && expect.failed_op < expect.n) {
        const kv_op *op = &expect.ops[expect.failed_op];
        expect.rc = model_op(m, op, KEY_LONG - 1, &answer);
        expect.failed_op += expect.rc == KV_OK;
        *agrees = *agrees && model_answer_agrees(op, &answer);
    }
    expect.deleted = answer.deleted;
    model_answer_free(&answer);
    if (expect.rc != KV_OK)
        model_restore(m, before);
    model_release(before);
    return expect;
}

static bool differs(driver *d, const char *what)
{
    d->failure = 0;
    d->what = what;
    return false;
}

/* A failure that no batch is to blame for. */
static bool is_trouble(int rc)
{
    return rc < 0 && rc > DRIVER_UPDATE_FAILS && rc != KV_ETOOBIG && rc != KV_EOVERFLOW &&
           rc != KV_ENOTNUMBER && rc != KV_EPOISONED;
}

static bool judge(driver *d, const kvi_member *member)
{
    if (is_trouble(member->rc)) {
        if (d->failure == 0)
            d->failure = member->rc;
        return true;
    }
    bool agrees;
    kvi_member expect = model_batch(d->m, member, &agrees);
    if (member->rc == KV_EPOISONED) {
        d->failure = KV_EPOISONED;
        return true;
    }
    if (member->rc != expect.rc)
        return differs(d, "a batch: another outcome");
    if (member->failed_op != expect.failed_op)
        return differs(d, "a batch: another operation failed");
    if (member->rc == KV_OK && member->deleted != expect.deleted)
        return differs(d, "a batch: another number of entries deleted");
    if (member->rc == KV_OK && !agrees)
        return differs(d, "a batch: another answer");
    return true;
}

static bool judge_all(batch_group *g)
{
    driver *d = g->d;
    uint64_t id = 0, before = d->m->n_commits ? d->m->commits[d->m->n_commits - 1].id : 0;
    for (size_t i = 0; i < g->n; i++) {
        const kvi_member *member = &g->members[i];
        if (!judge(d, member))
            return false;
        if (member->rc != KV_OK)
            continue;
        if (member->commit_id < before || (id && member->commit_id != id))
            return differs(d, "a batch: commit id");
        id = member->commit_id;
    }
    if (id > before)
        model_commit_as(d->m, id);
    return d->failure == 0;
}

/* Tells the model by which time the group will be judged. */
static bool time_tell(driver *d)
{
    uint64_t now;
    if (!d->shape.expiry)
        return true;
    d->failure = driver_time(d->db, &now);
    if (d->failure == KV_OK)
        model_expire(d->m, now);
    return d->failure == KV_OK;
}

bool driver_group(driver *d, uint32_t flags, model_state **unknown)
{
    static batch_group g;
    model_state *base = model_keep(d->m);
    *unknown = NULL;
    d->failure = 0;
    d->what = NULL;
    driver_pass_time(d);
    size_t commits = d->m->n_commits;
    if (!time_tell(d)) {
        d->what = "a batch: the time";
        model_release(base);
        return false;
    }
    group_build(&g, d, flags);
    if (g.n == 1)
        run_alone(d, &g.members[0], flags);
    else
        run_together(d, &g);
    bool fine = judge_all(&g);
    if (d->failure == KV_EPOISONED) {
        *unknown = model_keep(d->m);
        model_restore(d->m, base);
    }
    if (fine && d->m->n_commits == commits)
        model_restore(d->m, base); /* no commit keeps the time */
    if (!fine && !d->what)
        d->what = "a batch";
    model_release(base);
    group_free(&g);
    return fine;
}
