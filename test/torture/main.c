/* main.c - options and rounds.
 *
 * A round lasts until enough processes were killed, or until damage is found: then the file is
 * thrown away, and the next round begins with a new one.
 */
#include "torture.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIN_ROUND_MS = 300 };

struct options {
    const char *engine, *dir, *fault;
    uint64_t kills, seed, patience;
    const char *peer[PEERS_MAX];
    uint32_t workers, peers;
    bool stop_at_first, no_sigstop, no_namespaces, no_guests, no_forks, no_jumps;
};

static const char usage[] =
    "usage: torture [options]\n"
    "  --engine kv|lmdb   default kv\n"
    "  --kills N          default 500\n"
    "  --workers N        default 8, at most 60\n"
    "  --seed S           default: the clock\n"
    "  --patience S       with an operation that does not end; default 10\n"
    "  --dir DIR          where the file goes; default: a temporary folder\n"
    "  --stop             stop at the first violation and keep the file\n"
    "  --no-sigstop       kill only, do not stop processes for a while\n"
    "  --no-namespaces    processes have pids of their own\n"
    "  --no-guests        no processes that may not write the file\n"
    "  --no-forks         processes have no children\n"
    "  --no-jumps         processes have the clock of the system\n"
    "  --peer PROGRAM     another build of this program, of which processes are started,\n"
    "                     too; may be repeated\n"
    "  --fault NAME       build a fault into the engine, which must be found:\n"
    "                     ";

const struct engine *torture_engine(const char *name)
{
    if (strcmp(name, "kv") == 0)
        return &torture_kv;
    return strcmp(name, "lmdb") == 0 ? torture_lmdb() : NULL;
}

/* ---- options ---- */

static uint64_t number(const char *text, uint64_t least, uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 0);
    if (errno != 0 || *end || end == text || value < least || value > most) {
        fprintf(stderr, "torture: not a sensible number: %s\n", text);
        exit(2);
    }
    return value;
}

static void add_peer(struct options *o, const char *program)
{
    if (o->peers == PEERS_MAX || access(program, X_OK) != 0) {
        fprintf(stderr, "torture: too many, or cannot be run: %s\n", program);
        exit(2);
    }
    o->peer[o->peers++] = program;
}

static void parse(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {{"engine", required_argument, NULL, 'e'},
                                          {"kills", required_argument, NULL, 'k'},
                                          {"workers", required_argument, NULL, 'w'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"dir", required_argument, NULL, 'd'},
                                          {"fault", required_argument, NULL, 'f'},
                                          {"stop", no_argument, NULL, '1'},
                                          {"no-sigstop", no_argument, NULL, 'c'},
                                          {"patience", required_argument, NULL, 'p'},
                                          {"no-namespaces", no_argument, NULL, 'n'},
                                          {"no-guests", no_argument, NULL, 'g'},
                                          {"no-forks", no_argument, NULL, 'o'},
                                          {"no-jumps", no_argument, NULL, 'j'},
                                          {"peer", required_argument, NULL, 'r'},
                                          {0}};
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'e':
            o->engine = optarg;
            break;
        case 'k':
            o->kills = number(optarg, 0, UINT64_MAX);
            break;
        case 'w':
            o->workers = (uint32_t)number(optarg, 1, WORKERS_MAX - 4);
            break;
        case 's':
            o->seed = number(optarg, 0, UINT64_MAX);
            break;
        case 'p':
            o->patience = number(optarg, 1, 3600);
            break;
        case 'd':
            o->dir = optarg;
            break;
        case 'f':
            o->fault = optarg;
            break;
        case 'r':
            add_peer(o, optarg);
            break;
        case '1':
            o->stop_at_first = true;
            break;
        case 'c':
            o->no_sigstop = true;
            break;
        case 'g':
            o->no_guests = true;
            break;
        case 'o':
            o->no_forks = true;
            break;
        case 'j':
            o->no_jumps = true;
            break;
        case 'n':
            o->no_namespaces = true;
            break;
        default:
            fprintf(stderr, "%s%s\n", usage, torture_faults());
            exit(2);
        }
    }
}

static const struct engine *choose_engine(const struct options *o)
{
    const struct engine *engine = torture_engine(o->engine);
    if (!engine) {
        printf("torture: built without the engine %s\n", o->engine);
        exit(77);
    }
    if (*o->fault && !torture_fault(engine, o->fault)) {
        fprintf(stderr, "torture: no such fault; there are: %s\n", torture_faults());
        exit(2);
    }
    return engine;
}

/* ---- rounds ---- */

static bool side_file_is_left(const struct engine *engine)
{
    char side[sizeof board->path + 16];
    snprintf(side, sizeof side, "%s%s", board->path, engine->side ? engine->side : "-none");
    return engine->side && access(side, F_OK) == 0;
}

static void remove_files(void)
{
    char side[sizeof board->path + 16];
    snprintf(side, sizeof side, "%s-lock", board->path);
    unlink(side);
    unlink(board->path);
}

static void reset_board(void)
{
    for (uint32_t i = 0; i < WORKERS_MAX; i++) {
        atomic_store(&board->place[i].intent, 0);
        atomic_store(&board->place[i].acked, 0);
        atomic_store(&board->place[i].seen, 0);
        atomic_store(&board->place[i].guests_seen, 0);
    }
    atomic_store(&board->clock, 0);
    atomic_store(&board->damaged, 0);
    atomic_store(&board->leave, 0);
}

static void end_round(struct herd *herd, const struct engine *engine)
{
    torture_herd_leave(herd);
    if (atomic_load(&board->damaged))
        return;
    if (side_file_is_left(engine))
        torture_violation(LEFT, 0, "the side file is left after all have closed");
    torture_herd_audit();
    if (side_file_is_left(engine))
        torture_violation(LEFT, 0, "the side file is left after the only one has closed");
}

static void run_round(const struct options *o, struct herd *herd, const struct engine *engine,
                      rng *dice)
{
    uint64_t least = torture_now() + MIN_ROUND_MS * MS;
    herd->rounds++;
    reset_board();
    torture_herd_start(herd, dice);
    while (!atomic_load(&board->damaged) && !(o->stop_at_first && torture_violations() > 0) &&
           (herd->kills < o->kills || torture_now() < least)) {
        torture_herd_disturb(herd, dice);
        torture_collect(herd->rounds);
    }
    if (!atomic_load(&board->damaged))
        end_round(herd, engine);
    torture_herd_kill_all(herd);
    torture_collect(herd->rounds);
}

static void run(const struct options *o, struct herd *herd, const struct engine *engine)
{
    rng dice;
    rng_seed(&dice, o->seed);
    do {
        if (herd->rounds > 0)
            remove_files();
        run_round(o, herd, engine, &dice);
    } while (herd->kills < o->kills && !(o->stop_at_first && torture_violations() > 0));
}

/* ---- main ---- */

/* A process that may not write the file needs a way to it. */
static bool others_can_enter(const char *dir)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(setgroups(0, NULL) != 0 || setgid(GUEST_UID) != 0 || setuid(GUEST_UID) != 0 ||
              access(dir, R_OK | X_OK) != 0);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static char *make_folder(const char *dir)
{
    static char path[900];
    const char *tmp = getenv("TMPDIR");
    if (*dir)
        snprintf(path, sizeof path, "%s", dir);
    else
        snprintf(path, sizeof path, "%s/kv-torture.XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (*dir ? mkdir(path, 0755) != 0 && errno != EEXIST : !mkdtemp(path)) {
        perror(path);
        exit(2);
    }
    if (!*dir)
        chmod(path, 0755);
    return path;
}

static void set_up(const struct options *o, const struct engine *engine, struct herd *herd,
                   const char *dir)
{
    torture_board_create();
    snprintf(board->engine, sizeof board->engine, "%s", o->engine);
    snprintf(board->fault, sizeof board->fault, "%s", o->fault);
    snprintf(board->path, sizeof board->path, "%s/torture.db", dir);
    board->seed = o->seed;
    board->workers = o->workers;
    herd->engine = engine;
    herd->peers = o->peers;
    memcpy(herd->peer, o->peer, sizeof herd->peer);
    board->patience = o->patience * 1000 * MS;
    herd->stopping = !o->no_sigstop;
    herd->namespaces = !o->no_namespaces && torture_namespaces();
    board->guests = !o->no_guests && engine->guests && geteuid() == 0 && others_can_enter(dir);
    board->forks = !o->no_forks && engine->forks;
    board->jumps = !o->no_jumps && engine->now;
    printf("%s %s%s%s, %u workers%s%s%s%s, seed %llu\n", engine->name, engine->version(),
           *o->fault ? " with fault " : "", o->fault, o->workers,
           herd->namespaces ? ", each pid 1" : "",
           board->guests ? ", some may not write the file" : "",
           board->forks ? ", with children" : "", board->jumps ? ", clocks that jump" : "",
           (unsigned long long)o->seed);
    remove_files();
    torture_hearts(dir);
}

/* Also what a process left that was killed while it made the file. */
static void clean_up(const char *dir)
{
    DIR *folder = opendir(dir);
    for (struct dirent *entry; folder && (entry = readdir(folder));)
        unlinkat(dirfd(folder), entry->d_name, 0);
    if (folder)
        closedir(folder);
    rmdir(dir);
}

int main(int argc, char **argv)
{
    struct options o = {
        .engine = "kv", .dir = "", .fault = "", .kills = 500, .workers = 8, .patience = 10};
    struct herd herd = {0};
    if (argc == 4 && strcmp(argv[1], "--worker") == 0)
        return torture_worker((uint32_t)number(argv[2], 0, WORKERS_MAX - 1),
                              number(argv[3], 0, UINT64_MAX));
    o.seed = (uint64_t)time(NULL);
    parse(&o, argc, argv);
    const struct engine *engine = choose_engine(&o);
    const char *dir = make_folder(o.dir);
    set_up(&o, engine, &herd, dir);
    uint64_t begin = torture_now();
    run(&o, &herd, engine);
    torture_report(&herd, torture_now() - begin);
    if (torture_violations() > 0)
        printf("seed %llu\n", (unsigned long long)o.seed);
    if (torture_violations() > 0 && o.stop_at_first)
        printf("the file is kept: %s\n", board->path);
    else if (!*o.dir)
        clean_up(dir);
    return torture_violations() > 0;
}
