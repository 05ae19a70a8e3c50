/* util.c - the clock, failing, processes, files, and how numbers and the machine are printed. */
#include "bench.h"

#include <kv.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

double bench_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double bench_clock(const struct options *o)
{
    struct timespec t;
    if (!o->cpu)
        return bench_now();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void bench_die(const char *format, ...)
{
    va_list arguments;
    fflush(stdout);
    fputs("bench: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void bench_must(struct kv_db *db, int rc, const char *what)
{
    char text[320];
    if (rc == KV_OK)
        return;
    kv_db_errmsg(db, text, sizeof text);
    bench_die("%s: %s: %s", what, kv_strerror(rc), text);
}

void bench_path(char *path, size_t size, const struct options *o, const char *engine,
                const char *file)
{
    int len = snprintf(path, size, "%s/%s.%s", o->dir, engine, file);
    if (len < 0 || (size_t)len >= size)
        bench_die("path too long: %s", o->dir);
}

void *bench_alloc(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        bench_die("out of memory");
    return memory;
}

/* Visits the file, those beside it whose names it begins, or all within the folder. */
static void walk(const char *path, void (*visit)(const char *file, void *context), void *context)
{
    static const char *const beside[] = {"-lock", "-wal", "-shm", "-journal"};
    char file[4600];
    DIR *folder = opendir(path);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            walk(file, visit, context);
    }
    if (folder)
        closedir(folder);
    visit(path, context);
    for (size_t i = 0; !folder && i < sizeof beside / sizeof *beside; i++) {
        snprintf(file, sizeof file, "%s%s", path, beside[i]);
        visit(file, context);
    }
}

static void visit_remove(const char *file, void *context)
{
    (void)context;
    remove(file);
}

void bench_remove(const char *path)
{
    walk(path, visit_remove, NULL);
}

static void visit_size(const char *file, void *context)
{
    struct stat st;
    if (stat(file, &st) == 0 && S_ISREG(st.st_mode))
        *(uint64_t *)context += (uint64_t)st.st_size;
}

uint64_t bench_disk_size(const char *path)
{
    uint64_t size = 0;
    walk(path, visit_size, &size);
    return size;
}

static void visit_drop(const char *file, void *context)
{
    (void)context;
    int fd = open(file, O_RDONLY);
    if (fd < 0)
        return; /* it need not be there */
    if (fsync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        bench_die("cannot drop %s from the page cache", file);
    close(fd);
}

void bench_drop_cache(const char *path)
{
    walk(path, visit_drop, NULL);
}

double bench_device_written(const char *dir)
{
    char path[64];
    unsigned long long sectors = 0;
    struct stat st;
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    if (fd < 0 || fstat(fd, &st) != 0 || syncfs(fd) != 0)
        bench_die("cannot sync %s", dir);
    close(fd);
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/stat", major(st.st_dev), minor(st.st_dev));
    FILE *in = fopen(path, "r");
    bool known = in && fscanf(in, "%*u %*u %*u %*u %*u %*u %llu", &sectors) == 1;
    if (in)
        fclose(in);
    return known ? (double)sectors * 512 : NAN;
}

bool bench_apart(void (*fn)(void *context, void *result), void *context, void *result, size_t size)
{
    void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        bench_die("out of memory");
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        bench_die("cannot fork");
    if (child == 0) {
        signal(SIGINT, SIG_DFL);
        fn(context, shared);
        fflush(stdout);
        _exit(0);
    }
    int status;
    if (waitpid(child, &status, 0) != child)
        bench_die("lost a child process");
    bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (WIFSIGNALED(status))
        fprintf(stderr, "bench: ended by signal %d\n", WTERMSIG(status));
    memcpy(result, shared, size);
    munmap(shared, size);
    return ok;
}

const char *bench_amount(double amount, char *text)
{
    const char *unit = "";
    if (isnan(amount)) {
        snprintf(text, 16, "n/a");
        return text;
    }
    if (amount >= 999.5e6) {
        amount /= 1e9;
        unit = " G";
    } else if (amount >= 999.5e3) {
        amount /= 1e6;
        unit = " M";
    } else if (amount >= 9999.5) {
        amount /= 1e3;
        unit = " k";
    }
    snprintf(text, 16, "%.*f%s", amount < 9.995 ? 2 : amount < 99.95 ? 1 : 0, amount, unit);
    return text;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(const double *values, int n)
{
    double sorted[ROUNDS_MAX];
    memcpy(sorted, values, sizeof *values * (size_t)n);
    qsort(sorted, (size_t)n, sizeof *sorted, compare_doubles);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* The rest of the first line of file that begins with name, without ":" and spaces. */
static void field(const char *file, const char *name, char *text, size_t size)
{
    char line[512];
    FILE *in = fopen(file, "r");
    snprintf(text, size, "unknown");
    while (in && fgets(line, sizeof line, in)) {
        if (strncmp(line, name, strlen(name)) != 0)
            continue;
        char *rest = line + strlen(name);
        rest += strspn(rest, " \t:");
        rest[strcspn(rest, "\n")] = 0;
        snprintf(text, size, "%s", rest);
        break;
    }
    if (in)
        fclose(in);
}

static const char *file_system(const char *dir)
{
    struct statfs fs;
    if (statfs(dir, &fs) != 0)
        return "unknown";
    switch ((unsigned long)fs.f_type) {
    case 0xef53:
        return "ext4";
    case 0x58465342:
        return "xfs";
    case 0x9123683e:
        return "btrfs";
    case 0x01021994:
        return "tmpfs (a flush costs nothing)";
    case 0x794c7630:
        return "overlayfs";
    default:
        return "another file system";
    }
}

/* Nanoseconds per record that the harness itself takes, with or without the value. */
static double harness_cost(const struct options *o, bool with_value)
{
    enum { KEYS = 100000, TRIES = 5 };
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    struct order order = bench_order(o->n, 1);
    double best = 0;
    for (int try = 0; try < TRIES; try++) { /* the first ones wake the processor up */
        double start = bench_now();
        for (uint64_t i = 0; i < KEYS; i++) {
            uint64_t number = bench_order_at(&order, i % o->n);
            bench_key(o, number, key);
            if (with_value)
                bench_value(o, number, 0, value);
            __asm__ volatile("" ::"r"(key), "r"(value) : "memory");
        }
        double took = bench_now() - start;
        best = try == 0 || took < best ? took : best;
    }
    return best * 1e9 / KEYS;
}

void bench_print_machine(const struct options *o, FILE *out)
{
    char cpu[256], memory[64];
    struct utsname host = {0};
    field("/proc/cpuinfo", "model name", cpu, sizeof cpu);
    field("/proc/meminfo", "MemTotal", memory, sizeof memory);
    uname(&host);
    fprintf(out, "machine   %s, %ld processors, %.1f GB memory, %s %s\n", cpu,
            sysconf(_SC_NPROCESSORS_ONLN), strtod(memory, NULL) / 1e6, host.sysname, host.release);
    fprintf(out, "files in  %s, %s\n", o->dir, file_system(o->dir));
    fprintf(out, "engines  ");
    for (const struct engine *const *e = o->engines; *e; e++)
        fprintf(out, " %s %s%s", (*e)->name, (*e)->version(), e[1] ? "," : "\n");
    fprintf(out, "records   %llu, key %zu bytes (%s), value %zu bytes\n", (unsigned long long)o->n,
            o->key_len, bench_key_kind_name(o), o->value_len);
    if (o->cpu)
        fprintf(out, "clock     processor time of the process: waiting for the disk is left out\n");
    fprintf(out,
            "harness   %.0f ns to make a random key, %.0f ns with its value: part of all times\n",
            harness_cost(o, false), harness_cost(o, true));
}
