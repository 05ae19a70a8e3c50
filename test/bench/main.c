/* main.c - the benchmark's command line. */
#include "bench.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void usage(FILE *out)
{
    fprintf(
        out,
        "usage: bench [MODE] [OPTIONS]\n"
        "modes\n"
        "  compare       speed and size, kv beside LMDB and others (the default)\n"
        "  growth        the file behind readers that stay, while all records are overwritten\n"
        "  import        4 GiB in one transaction: how much memory?\n"
        "  writers       durable one-record writes from 1, 2, 4 and 8 threads\n"
        "  commitcost    one-record commits, for test/bench/commit_cost.sh\n"
        "  sharing       begin and end of a read transaction beside up to 1,000 processes\n"
        "  watch         commits from one process, four that watch: how soon each is woken\n"
        "  sessions      a session store: the file beside its content, turnover by turnover\n"
        "  machine       where the others run, and with what\n"
        "  begincost     the same alone, for test/bench/begin_cost.sh\n"
        "  order         rank, nth and range count, for test/bench/order.sh\n"
        "  few           difference, backup and sweep of a few among many: pages read\n"
        "options\n"
        "  --n N         records (1000000; growth: 50000; commitcost, writers, sessions: 100000)\n"
        "  --value N     bytes of a value (100; import: 500; sessions: 200)\n"
        "  --keys KIND   random (the default) or decimal, 16 bytes both; random24, 24 bytes;\n"
        "                integer, 8 bytes; path, user:0001234567:profile; url, 90 bytes\n"
        "  --rounds N    of compare and writers (5)\n"
        "  --all         of compare: all cases\n"
        "  --only A,B    of compare: these cases, or those whose names begin so\n"
        "  --cpu         of compare: speeds by processor time, without waiting for the disk\n"
        "  --commits N   durable commits of one record (5000; commitcost: 1000; watch: 100000,\n"
        "                lazy; sessions: 1000 in a turnover)\n"
        "  --engines E,E of those below (kv,lmdb), or all; alone: lists them\n"
        "  --overwrites N of growth (20); sessions: turnovers (20)\n"
        "  --mib N       of import: keys and values (4096)\n"
        "  --budget N    of import: MiB of memory (64)\n"
        "  --redis PATH  of order: socket of a Redis server to compare with\n"
        "  --group DIR   control group with little memory, which the cases beyond-... enter when\n"
        "                their file is there\n"
        "  --dir DIR     where the files go ($TMPDIR, else /tmp)\n"
        "  --json        JSON lines\n"
        "  --device      of compare, with --json: bytes that the device was given, by all\n"
        "                processes, after a sync of the file system\n"
        "engines\n");
    bench_list_engines(out);
    fprintf(
        out,
        "cases of compare; * only with --all, or when --only names them; ! only when it does\n");
    bench_list_cases(out);
}

static _Noreturn void wrong(const char *what)
{
    fprintf(stderr, "bench: %s; bench --help lists modes and options\n", what);
    exit(2);
}

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || *end || value < least || value > most)
        wrong("a number is not one, too small or too large");
    return value;
}

static void parse_engines(struct options *o, char *list)
{
    size_t n = 0;
    if (strcmp(list, "all") == 0) {
        bench_engines_all(o->engines);
        return;
    }
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        const struct engine *engine = bench_engine(name);
        if (!engine || n == ENGINES_MAX)
            wrong("no such engine here");
        o->engines[n++] = engine;
    }
    if (n == 0)
        wrong("--engines names none");
    o->engines[n] = NULL;
}

static const struct option long_options[] = {
    {"n", 1, NULL, 'n'},      {"value", 1, NULL, 'v'},   {"keys", 1, NULL, 'k'},
    {"rounds", 1, NULL, 'r'}, {"only", 1, NULL, 'o'},    {"commits", 1, NULL, 'c'},
    {"dir", 1, NULL, 'd'},    {"engines", 1, NULL, 'e'}, {"overwrites", 1, NULL, 'w'},
    {"mib", 1, NULL, 'm'},    {"budget", 1, NULL, 'b'},  {"json", 0, NULL, 'j'},
    {"redis", 1, NULL, 'R'},  {"cpu", 0, NULL, 'p'},     {"help", 0, NULL, 'h'},
    {"all", 0, NULL, 'a'},    {"device", 0, NULL, 'D'},  {"group", 1, NULL, 'g'},
    {NULL, 0, NULL, 0}};

static void set_option(struct options *o, int letter, char *argument)
{
    switch (letter) {
    case 'n':
        o->n = number(argument, 1, (uint64_t)1 << 40);
        break;
    case 'v':
        o->value_len = number(argument, VALUE_MIN, VALUE_MAX);
        break;
    case 'k':
        if (!bench_key_kind(o, argument))
            wrong("unknown kind of keys");
        break;
    case 'r':
        o->rounds = (int)number(argument, 1, ROUNDS_MAX);
        break;
    case 'o':
        o->only = argument;
        break;
    case 'c':
        o->commits = number(argument, 1, (uint64_t)1 << 40);
        break;
    case 'd':
        o->dir = argument;
        break;
    case 'e':
        parse_engines(o, argument);
        break;
    case 'w':
        o->overwrites = (int)number(argument, 1, 1000);
        break;
    case 'm':
        o->import_mib = number(argument, 1, 1 << 20);
        break;
    case 'b':
        o->budget_mib = number(argument, 1, 1 << 20);
        break;
    case 'j':
        o->json = true;
        break;
    case 'p':
        o->cpu = true;
        break;
    case 'R':
        o->redis = argument;
        break;
    case 'g':
        o->group = argument;
        break;
    case 'D':
        o->device = true;
        break;
    case 'a':
        o->all = true;
        break;
    case ':':
        if (optopt == 'e') {
            bench_list_engines(stdout);
            exit(0);
        }
        wrong("an option lacks its argument");
    case 'h':
        usage(stdout);
        exit(0);
    default:
        wrong("unknown option");
    }
}

struct mode {
    const char *name;
    int (*run)(const struct options *o);
    uint64_t n, value_len, commits; /* defaults */
};

static int machine(const struct options *o)
{
    bench_print_machine(o, stdout);
    return 0;
}

static const struct mode modes[] = {
    {"compare", bench_compare, 1000000, 100, 5000},
    {"growth", bench_growth, 50000, 100, 0},
    {"import", bench_import, 1, 500, 0},
    {"writers", bench_writers, 100000, 100, 5000},
    {"commitcost", bench_commit_cost, 100000, 100, 1000},
    {"sharing", bench_sharing, 10000, 100, 0},
    {"watch", bench_watch, 1, 100, 100000},
    {"sessions", bench_sessions, 100000, 200, 1000},
    {"machine", machine, 1000000, 100, 0},
    {"begincost", bench_begin_cost, 1000, 100, 1000},
    {"order", bench_by_number, 1000000, 100, 0},
    {"few", bench_few, 10000000, 100, 0},
};

static const struct mode *find_mode(const char *name)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
        if (strcmp(modes[i].name, name) == 0)
            return &modes[i];
    wrong("unknown mode");
}

/* The files get a folder of their own, so that nothing else is overwritten or removed. */
static void make_folder(struct options *o, char *folder, size_t size)
{
    const char *parent = o->dir ? o->dir : getenv("TMPDIR");
    int len = snprintf(folder, size, "%s/kv-bench.XXXXXX", parent ? parent : "/tmp");
    if (len < 0 || (size_t)len >= size || !mkdtemp(folder))
        bench_die("cannot make a folder in %s", parent ? parent : "/tmp");
    o->dir = folder;
}

struct work {
    const struct mode *mode;
    const struct options *o;
};

static void run_mode(void *context, void *result)
{
    struct work *work = context;
    *(int *)result = work->mode->run(work->o);
}

int main(int argc, char **argv)
{
    char folder[4000];
    const struct mode *mode = &modes[0];
    if (argc > 1 && argv[1][0] != '-') {
        mode = find_mode(argv[1]);
        argc--;
        argv++;
    }
    struct options o = {.n = mode->n,
                        .commits = mode->commits,
                        .value_len = mode->value_len,
                        .rounds = 5,
                        .import_mib = 4096,
                        .budget_mib = 64,
                        .overwrites = 20,
                        .engines = {&bench_kv, &bench_lmdb}};
    bench_key_kind(&o, "random");
    int letter;
    while ((letter = getopt_long(argc, argv, ":", long_options, NULL)) != -1)
        set_option(&o, letter, optarg);
    if (optind < argc)
        wrong("too many arguments");
    make_folder(&o, folder, sizeof folder);
    signal(SIGINT, SIG_IGN); /* it ends the process that works, then the folder is removed */
    int status = 1;
    bool ended = bench_apart(run_mode, &(struct work){mode, &o}, &status, sizeof status);
    bench_remove(folder);
    return ended ? status : 1;
}
