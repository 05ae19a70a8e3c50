/* import.c - much data in one transaction with little memory: how much does the process take of its
 * own? Pages of the mapped file do not count: the kernel takes those back when it wants to. */
#include "bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SAMPLE_MS = 2 };

struct meter {
    atomic_bool stop;
    uint64_t peak; /* bytes; read after the thread has ended */
    uint64_t samples;
};

/* Bytes of a line of /proc/self/status that is given in kB. */
static uint64_t status_bytes(const char *name)
{
    char line[256];
    uint64_t kb = 0;
    FILE *in = fopen("/proc/self/status", "r");
    if (!in)
        bench_die("cannot read /proc/self/status");
    while (fgets(line, sizeof line, in))
        if (strncmp(line, name, strlen(name)) == 0)
            kb = strtoull(line + strlen(name), NULL, 10);
    fclose(in);
    return kb * 1024;
}

static void *meter_run(void *argument)
{
    struct meter *meter = argument;
    struct timespec pause = {0, SAMPLE_MS * 1000 * 1000};
    while (!atomic_load(&meter->stop)) {
        uint64_t now = status_bytes("RssAnon:");
        if (now > meter->peak)
            meter->peak = now;
        meter->samples++;
        nanosleep(&pause, NULL);
    }
    return NULL;
}

struct import_result {
    uint64_t before, peak, samples, file, records;
    double seconds;
};

static void put_all(const struct options *o, struct store *s, uint64_t records)
{
    unsigned char key[KEY_MAX], value[VALUE_MAX];
    bench_kv.write_begin(s);
    for (uint64_t i = 0; i < records; i++) {
        bench_key(o, i, key);
        bench_value(o, i, 0, value);
        bench_kv.append(s, key, value, o->value_len);
    }
    bench_kv.write_commit(s);
}

static void import(void *context, void *result)
{
    const struct options *o = context;
    struct import_result *r = result;
    struct meter meter = {0};
    pthread_t thread;
    char path[4096];
    bench_path(path, sizeof path, o, "kv", "import");
    bench_remove(path);
    r->before = status_bytes("RssAnon:");
    if (pthread_create(&thread, NULL, meter_run, &meter) != 0)
        bench_die("cannot start a thread");
    struct store *s = bench_kv.open(o, path, STORE_BUDGET);
    double start = bench_now();
    put_all(o, s, o->n);
    r->seconds = bench_now() - start;
    atomic_store(&meter.stop, true);
    pthread_join(thread, NULL);
    bench_kv.read_begin(s, 0);
    bench_verify(o, &bench_kv, s, 0, 0);
    bench_kv.read_end(s, 0);
    r->peak = meter.peak;
    r->samples = meter.samples;
    r->file = bench_kv.file_size(s);
    bench_kv.close(s);
    bench_remove(path);
}

int bench_import(const struct options *o)
{
    struct options sized = *o;
    struct import_result r;
    uint64_t raw = o->import_mib << 20;
    sized.engines[0] = &bench_kv;
    sized.engines[1] = NULL;
    sized.n = raw / (o->key_len + o->value_len);
    if (!o->json)
        bench_print_machine(&sized, stdout);
    if (!bench_apart(import, &sized, &r, sizeof r)) {
        fprintf(stderr, "bench: import failed\n");
        return 1;
    }
    double mib = 1 << 20;
    if (o->json)
        printf("{\"mode\":\"import\",\"records\":%llu,\"raw\":%llu,\"budget\":%llu,\"file\":%llu,"
               "\"anonymous_before\":%llu,\"anonymous_peak\":%llu,\"seconds\":%.3f}\n",
               (unsigned long long)sized.n, (unsigned long long)raw,
               (unsigned long long)o->budget_mib << 20, (unsigned long long)r.file,
               (unsigned long long)r.before, (unsigned long long)r.peak, r.seconds);
    else
        printf("one transaction of %.0f MiB in key order under a budget of %llu MiB: %.1f s, "
               "%.0f MiB/s, file %.0f MiB\n"
               "anonymous memory: %.1f MiB at the start, %.1f MiB at the peak (%llu samples); "
               "all records read back\n",
               (double)raw / mib, (unsigned long long)o->budget_mib, r.seconds,
               (double)raw / mib / r.seconds, (double)r.file / mib, (double)r.before / mib,
               (double)r.peak / mib, (unsigned long long)r.samples);
    return 0;
}
