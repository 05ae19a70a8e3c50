/* crash_report.c - what went wrong, where, and how to see it again: the path to a state, written
 * and read.
 *
 *     CRASH_REPLAY=workload:seed:segment/at,garbage,pick,kept/...
 *
 * with one part per crash: the event it came at (k before it: a kill; l: a flush that was a lie), the kind of garbage, the
 * number that decided what followed, and the numbers of the units that the disk kept. */
#include "crash_impl.h"
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

bool crash_wrong(crash_sweep *s, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(s->why, sizeof s->why, format, arguments);
    va_end(arguments);
    return false;
}

/* ---- writing ---- */

typedef struct text {
    char *at;
    size_t left;
} text;

static void text_add(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void text_add(text *t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(t->at, t->left, format, arguments);
    va_end(arguments);
    size_t used = n < 0 ? 0 : KVI_MIN((size_t)n, t->left - 1);
    t->at += used;
    t->left -= used;
}

static void text_kept(text *t, const crash_epoch *e)
{
    const char *between = "";
    for (size_t i = 0; i < e->n; i++) {
        size_t first = i;
        if (!e->keep[i])
            continue;
        while (i + 1 < e->n && e->keep[i + 1])
            i++;
        text_add(t, first < i ? "%s%zu-%zu" : "%s%zu", between, first, i);
        between = "+";
    }
}

static void text_path(text *t, const crash_sweep *s, unsigned depth)
{
    text_add(t, "CRASH_REPLAY=%s:%llu:%u", s->w->name, (unsigned long long)s->seed, s->segment);
    for (unsigned d = 0; d <= depth; d++) {
        const crash_epoch *e = &s->levels[d].epoch;
        text_add(t, "/%s%zu,%u,%llx,",
                 e->kill  ? "k"
                 : e->lie ? "l"
                          : "",
                 e->at, e->garbage, (unsigned long long)e->pick);
        if (!e->kill)
            text_kept(t, e);
    }
}

static const char *place_of(const sim_unit *unit, uint32_t page_size, char *buf, size_t size)
{
    if (unit->kind == SIM_UNIT_NAME)
        snprintf(buf, size, "name %s: %s", unit->name, unit->file < 0 ? "removed" : "bound");
    else if (unit->kind == SIM_UNIT_SIZE)
        snprintf(buf, size, "size %llu", (unsigned long long)unit->off);
    else
        snprintf(buf, size, "page %llu: bytes %llu to %llu",
                 (unsigned long long)(unit->off / page_size), (unsigned long long)unit->off,
                 (unsigned long long)(unit->off + unit->len));
    return buf;
}

#define LINE 168 /* bytes of one that tells of a unit */

/* Those that were lost, or kept. */
static void text_list(text *t, const crash_sweep *s, const crash_epoch *e, bool kept)
{
    char place[LINE - 40];
    for (size_t i = 0; i < e->n; i++) {
        if (e->keep[i] != kept)
            continue;
        if (t->left < 2 * LINE) {
            text_add(t, "  and more\n");
            return;
        }
        text_add(t, "  %-5s %4zu  event %-5zu %s\n", kept ? "kept" : "LOST", i, e->units[i].event,
                 place_of(&e->units[i], s->options.page_size, place, sizeof place));
    }
}

/* The lost ones first: the others may be more than there is room for. */
static void text_units(text *t, const crash_sweep *s, const crash_record *record, unsigned depth)
{
    const crash_epoch *e = &s->levels[depth].epoch;
    text_add(t, "before event %zu of %zu", e->at, record->disk->n_events);
    const crash_moment *m = crash_log_find(record->log, e->at);
    text_add(t, ": durable %llu, published %llu, writing %llu\n", (unsigned long long)m->durable,
             (unsigned long long)m->published, (unsigned long long)m->writing);
    for (int kept = 0; !e->kill && kept < 2; kept++)
        text_list(t, s, e, kept);
}

void crash_report(crash_sweep *s, const crash_record *record, unsigned depth)
{
    text t = {s->report, sizeof s->report};
    text_add(&t, "%s\n", s->why);
    text_path(&t, s, depth);
    const crash_epoch *e = &s->levels[depth].epoch;
    text_add(&t, "\n%s%s, ",
             e->kill  ? "kill"
             : e->lie ? "lost flush"
                      : "power cut",
             depth ? " in what followed another crash" : "");
    text_units(&t, s, record, depth);
}

/* ---- reading ---- */

bool crash_path_wanted(const crash_workload *w, uint64_t *seed, bool *mine)
{
    const char *path = getenv("CRASH_REPLAY");
    size_t len = strlen(w->name);
    if (!path)
        return false;
    *mine = strncmp(path, w->name, len) == 0 && path[len] == ':';
    if (*mine)
        *seed = strtoull(path + len + 1, NULL, 10);
    return true;
}

static crash_step read_step(char *part)
{
    crash_step step = {.kill = *part == 'k', .lie = *part == 'l'};
    char *end = part + (step.kill || step.lie);
    step.at = strtoull(end, &end, 10);
    step.garbage = (unsigned)strtoul(*end ? end + 1 : end, &end, 10);
    step.pick = strtoull(*end ? end + 1 : end, &end, 16);
    step.kept = *end ? end + 1 : end;
    return step;
}

void crash_path_read(crash_path *path)
{
    char *rest, *part;
    path->text = strdup(getenv("CRASH_REPLAY"));
    if (!path->text)
        sim_die("out of memory");
    part = strtok_r(path->text, "/", &rest);
    path->segment = (unsigned)strtoul(strrchr(part, ':') + 1, NULL, 10);
    while (path->n < CRASH_DEPTH && (part = strtok_r(NULL, "/", &rest)))
        path->steps[path->n++] = read_step(part);
}

void crash_path_free(crash_path *path)
{
    free(path->text);
    *path = (crash_path){0};
}

const crash_step *crash_path_step(const crash_sweep *s, unsigned depth, size_t at, bool kill,
                                  bool lie)
{
    const crash_path *path = &s->path;
    if (depth >= path->n || s->segment != path->segment || path->steps[depth].at != at ||
        path->steps[depth].kill != kill || path->steps[depth].lie != lie)
        return NULL;
    return &path->steps[depth];
}

void crash_step_keep(const crash_step *step, crash_epoch *e)
{
    char *at = (char *)(uintptr_t)step->kept;
    crash_epoch_keep_all(e, false);
    e->garbage = step->garbage;
    e->pick = step->pick;
    while (*at >= '0' && *at <= '9') {
        size_t first = strtoull(at, &at, 10);
        size_t last = *at == '-' ? strtoull(at + 1, &at, 10) : first;
        for (size_t i = first; i <= last && i < e->n; i++)
            e->keep[i] = true;
        at += *at == '+';
    }
}

/* ---- crashes of the program itself ---- */

static crash_sweep *watched;
static char last_words[sizeof((crash_sweep *)0)->report];

/* Once: a sanitizer may end the program by a signal. */
static void speak(const char *what)
{
    text t = {last_words, sizeof last_words};
    const crash_sweep *s = watched;
    unsigned depth = 0;
    watched = NULL;
    if (!s)
        return;
    while (depth + 1 < CRASH_DEPTH && s->levels[depth + 1].epoch.active)
        depth++;
    text_add(&t, "%s in or behind this state:\n", what);
    text_path(&t, s, depth);
    text_add(&t, "\n");
    if (write(2, last_words, strlen(last_words)) < 0)
        _exit(2);
}

static void die(int number)
{
    char what[32];
    signal(number, SIG_DFL);
    snprintf(what, sizeof what, "signal %d", number);
    speak(what);
    raise(number);
}

/* There only where the program is linked with a sanitizer, whose report ends it without a signal. */
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

/* gcc's UBSan is a library beside that of AddressSanitizer, and only the latter gets the callback. */
__attribute__((visibility("default"))) const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1";
}

static void die_sanitized(void)
{
    speak("sanitizer report");
}

void crash_watch(crash_sweep *s)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGALRM};
    watched = s;
    alarm(0);
    for (size_t i = 0; i < KVI_COUNT(numbers); i++)
        signal(numbers[i], s ? die : SIG_DFL);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(die_sanitized);
}
