/* compare.c - runs the cases engine by engine, round by round, and prints medians and ratios.
 *
 * A case runs once per engine before the next case begins, and every other round in reverse order,
 * so that a slow minute of the machine meets all engines alike. A ratio is the median of the
 * rounds' ratios, not the ratio of medians. */
#include "bench.h"

#include <string.h>

enum { CASES_MAX = 32 };

struct one_run {
    const struct options *o;
    const struct bench_case *c;
    const struct engine *e;
};

struct results {
    double value[CASES_MAX][ENGINES_MAX][ROUNDS_MAX];
};

static bool chosen(const struct options *o, const struct bench_case *c)
{
    return !o->only || strncmp(c->name, o->only, strlen(o->only)) == 0;
}

/* Cases that load a file run when a chosen case needs the file. */
static bool needed(const struct options *o, const struct bench_case *c)
{
    for (const struct bench_case *user = bench_cases; user->name; user++)
        if (chosen(o, user) && c->loads && strcmp(user->file, c->file) == 0)
            return true;
    return chosen(o, c);
}

static void run_one(void *context, void *result)
{
    const struct one_run *run = context;
    char path[4096];
    bench_path(path, sizeof path, run->o, run->e->name, run->c->file);
    *(struct measure *)result = run->c->run(run->o, run->e, path);
}

static int engine_count(const struct options *o)
{
    int n = 0;
    while (o->engines[n])
        n++;
    return n;
}

static void print_run(const struct one_run *run, int round, const struct measure *m)
{
    printf("{\"round\":%d,\"case\":\"%s\",\"engine\":\"%s\",\"value\":%.6g,\"unit\":\"%s\","
           "\"operations\":%llu,\"seconds\":%.6f}\n",
           round + 1, run->c->name, run->e->name, m->value, run->c->unit,
           (unsigned long long)m->operations, m->seconds);
}

static bool run_case(const struct options *o, int index, int round, struct results *results)
{
    int engines = engine_count(o);
    for (int i = 0; i < engines; i++) {
        int which = round % 2 ? engines - 1 - i : i;
        struct one_run run = {o, &bench_cases[index], o->engines[which]};
        struct measure m;
        if (!bench_apart(run_one, &run, &m, sizeof m)) {
            fprintf(stderr, "bench: %s: %s failed\n", run.e->name, run.c->name);
            return false;
        }
        results->value[index][which][round] = m.value;
        if (o->json && chosen(o, run.c))
            print_run(&run, round, &m);
    }
    return true;
}

static void remove_files(const struct options *o)
{
    char path[4096];
    for (const struct engine *const *e = o->engines; *e; e++) {
        for (const struct bench_case *c = bench_cases; c->name; c++) {
            bench_path(path, sizeof path, o, (*e)->name, c->file);
            bench_remove(path);
        }
    }
}

/* ---- the report ---- */

struct ratio {
    double median, least, most;
};

/* The first engine against engine number other. */
static struct ratio ratio_to(const struct options *o, double value[][ROUNDS_MAX], int other)
{
    double ratio[ROUNDS_MAX];
    struct ratio r = {0, 0, 0};
    for (int i = 0; i < o->rounds; i++) {
        ratio[i] = value[0][i] / value[other][i];
        r.least = i == 0 || ratio[i] < r.least ? ratio[i] : r.least;
        r.most = i == 0 || ratio[i] > r.most ? ratio[i] : r.most;
    }
    r.median = bench_median(ratio, o->rounds);
    return r;
}

static void print_row(const struct options *o, const struct bench_case *c,
                      double value[][ROUNDS_MAX])
{
    char text[16];
    printf("%-13s", c->name);
    for (int e = 0; o->engines[e]; e++)
        printf(" %13s", bench_amount(bench_median(value[e], o->rounds), text));
    printf(" %-10s", c->unit);
    for (int e = 1; o->engines[e]; e++) {
        struct ratio r = ratio_to(o, value, e);
        printf("  %5.2f (%.2f-%.2f)%*s", r.median, r.least, r.most,
               (r.least < 9.995) + (r.most < 9.995), "");
    }
    printf("  %s\n", c->what);
}

static void print_header(const struct options *o)
{
    char title[64];
    printf("\n%-13s", "case");
    for (int e = 0; o->engines[e]; e++)
        printf(" %13s", o->engines[e]->name);
    printf(" %-10s", "unit");
    for (int e = 1; o->engines[e]; e++) {
        snprintf(title, sizeof title, "%s/%s", o->engines[0]->name, o->engines[e]->name);
        printf("  %-18s", title);
    }
    printf(" what\n");
}

static void print_row_json(const struct options *o, const struct bench_case *c,
                           double value[][ROUNDS_MAX])
{
    printf("{\"case\":\"%s\",\"unit\":\"%s\"", c->name, c->unit);
    for (int e = 0; o->engines[e]; e++)
        printf(",\"%s\":%.6g", o->engines[e]->name, bench_median(value[e], o->rounds));
    for (int e = 1; o->engines[e]; e++) {
        struct ratio r = ratio_to(o, value, e);
        printf(",\"ratio_to_%s\":%.4f,\"least\":%.4f,\"most\":%.4f", o->engines[e]->name, r.median,
               r.least, r.most);
    }
    printf("}\n");
}

static void report(const struct options *o, struct results *results)
{
    if (!o->json)
        print_header(o);
    for (int i = 0; bench_cases[i].name; i++) {
        if (!chosen(o, &bench_cases[i]))
            continue;
        (o->json ? print_row_json : print_row)(o, &bench_cases[i], results->value[i]);
    }
    if (!o->json)
        printf(
            "\nSpeeds and sizes are medians of %d rounds, ratios the median of the rounds' ratios, "
            "with the\nleast and the greatest. More is better, except for sizes.\n",
            o->rounds);
}

void bench_list_cases(FILE *out)
{
    for (const struct bench_case *c = bench_cases; c->name; c++)
        fprintf(out, "  %-13s %s\n", c->name, c->what);
}

int bench_compare(const struct options *o)
{
    static struct results results;
    bool ok = true;
    if (!o->json)
        bench_print_machine(o, stdout);
    for (int round = 0; round < o->rounds && ok; round++) {
        if (!o->json)
            fprintf(stderr, "round %d of %d\n", round + 1, o->rounds);
        for (int i = 0; bench_cases[i].name && ok; i++)
            if (needed(o, &bench_cases[i]))
                ok = run_case(o, i, round, &results);
        remove_files(o);
    }
    if (ok)
        report(o, &results);
    return !ok;
}
