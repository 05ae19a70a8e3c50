/* compare.c - runs the cases engine by engine, round by round, and prints medians and ratios.
 *
 * A case runs once per engine before the next case begins, and every other round in reverse order,
 * so that a slow minute of the machine meets all engines alike. A ratio is the median of the
 * rounds' ratios, not the ratio of medians. */
#include "bench.h"

#include <math.h>
#include <string.h>

enum { CASES_MAX = 64 };

struct one_run {
    const struct options *o;
    const struct bench_case *c;
    const struct engine *e;
};

struct results {
    double value[CASES_MAX][ENGINES_MAX][ROUNDS_MAX];
};

/* Whether it has that name, or begins so when no case has it. */
static bool named(const struct bench_case *c, const char *name, size_t len)
{
    for (const struct bench_case *other = bench_cases; other->name; other++)
        if (strncmp(other->name, name, len) == 0 && other->name[len] == 0)
            return c == other;
    return strncmp(c->name, name, len) == 0;
}

static bool chosen(const struct options *o, const struct bench_case *c)
{
    if (!o->only)
        return c->when == ALWAYS || (c->when == ALL && o->all);
    for (const char *name = o->only; *name; name += strspn(name, ",")) {
        size_t len = strcspn(name, ",");
        if (named(c, name, len))
            return true;
        name += len;
    }
    return false;
}

/* Cases that make a file run when a later one of the file is chosen. */
static bool needed(const struct options *o, const struct bench_case *c)
{
    for (const struct bench_case *user = c; user->name; user++)
        if (chosen(o, user) && c->makes && strcmp(user->file, c->file) == 0)
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

/* JSON has no number for what was not measured. */
static const char *number(double value, char text[32])
{
    snprintf(text, 32, isnan(value) ? "null" : "%.6g", value);
    return text;
}

static void print_run(const struct one_run *run, int round, const struct measure *m,
                      double device_bytes)
{
    char text[32], device[32];
    printf("{\"mode\":\"compare\",\"clock\":\"%s\",\"keys\":\"%s\",\"n\":%llu,\"value_len\":%zu,"
           "\"round\":%d,"
           "\"case\":\"%s\",\"engine\":\"%s\",\"value\":%s,\"unit\":\"%s\","
           "\"operations\":%llu,\"seconds\":%.6f,\"device_bytes\":%s}\n",
           run->o->cpu ? "processor" : "wall", bench_key_kind_name(run->o),
           (unsigned long long)run->o->n, run->o->value_len, round + 1, run->c->name, run->e->name,
           number(m->value, text), run->c->unit, (unsigned long long)m->operations, m->seconds,
           number(device_bytes, device));
    fflush(stdout);
}

static bool run_case(const struct options *o, int index, int round, struct results *results)
{
    int engines = engine_count(o);
    for (int i = 0; i < engines; i++) {
        int which = round % 2 ? engines - 1 - i : i;
        struct one_run run = {o, &bench_cases[index], o->engines[which]};
        struct measure m;
        double written = o->device ? bench_device_written(o->dir) : NAN;
        if (!bench_apart(run_one, &run, &m, sizeof m)) {
            fprintf(stderr, "bench: %s: %s failed\n", run.e->name, run.c->name);
            return false;
        }
        results->value[index][which][round] = m.value;
        if (o->json && chosen(o, run.c))
            print_run(&run, round, &m, o->device ? bench_device_written(o->dir) - written : NAN);
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
    printf("%-16s", c->name);
    for (int e = 0; o->engines[e]; e++)
        printf(" %13s", bench_amount(bench_median(value[e], o->rounds), text));
    printf(" %-10s", c->unit);
    for (int e = 1; o->engines[e]; e++) {
        struct ratio r = ratio_to(o, value, e);
        if (isnan(r.median))
            printf("  %-18s", "n/a");
        else
            printf("  %5.2f (%.2f-%.2f)%*s", r.median, r.least, r.most,
                   (r.least < 9.995) + (r.most < 9.995), "");
    }
    printf("  %s\n", c->what);
}

static void print_header(const struct options *o)
{
    char title[64];
    printf("\n%-16s", "case");
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
    char median[32], least[32], most[32];
    printf("{\"case\":\"%s\",\"unit\":\"%s\"", c->name, c->unit);
    for (int e = 0; o->engines[e]; e++)
        printf(",\"%s\":%s", o->engines[e]->name,
               number(bench_median(value[e], o->rounds), median));
    for (int e = 1; o->engines[e]; e++) {
        struct ratio r = ratio_to(o, value, e);
        const char *name = o->engines[e]->name;
        printf(",\"ratio_to_%s\":%s,\"least_to_%s\":%s,\"most_to_%s\":%s", name,
               number(r.median, median), name, number(r.least, least), name, number(r.most, most));
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
            "with the\nleast and the greatest. More is better, except for sizes and times.\n",
            o->rounds);
}

void bench_list_cases(FILE *out)
{
    static const char *const marks[] = {[ALWAYS] = "  ", [ALL] = "* ", [NAMED] = "! "};
    for (const struct bench_case *c = bench_cases; c->name; c++)
        fprintf(out, "%s%-16s %s\n", marks[c->when], c->name, c->what);
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
