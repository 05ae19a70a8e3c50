/* report.c - what was found, each thing once, and the figures of a run. */
#include "torture.h"

#include <stdio.h>
#include <string.h>

enum { DISTINCT_MAX = 1000, SHOWN_MAX = 20 };

static struct finding {
    struct message message;
    uint64_t times;
} found[DISTINCT_MAX];

static size_t n_found;
static uint64_t violations[VIOLATIONS], all_violations;

/* ---- findings ---- */

static void add(const struct message *message, uint64_t round)
{
    size_t i = 0;
    violations[message->kind]++;
    all_violations++;
    while (i < n_found && (found[i].message.kind != message->kind ||
                           strcmp(found[i].message.text, message->text) != 0))
        i++;
    if (i == DISTINCT_MAX)
        return;
    if (i == n_found) {
        n_found++;
        found[i].message = *message;
        if (i < SHOWN_MAX)
            printf("  %-11s worker %u%s, round %llu: %s\n", torture_violation_name(message->kind),
                   message->place, message->guest ? " (guest)" : "", (unsigned long long)round,
                   message->text);
        fflush(stdout);
    }
    found[i].times++;
}

void torture_collect(uint64_t round)
{
    struct message message;
    while (torture_next_message(&message))
        add(&message, round);
}

uint64_t torture_violations(void)
{
    return all_violations + atomic_load(&board->count[COUNT_PIPE_FULL]);
}

/* ---- figures ---- */

static double milliseconds(uint64_t ns)
{
    return (double)ns / (double)MS;
}

static uint64_t counted(enum count count)
{
    return atomic_load(&board->count[count]);
}

static void print_waits(const char *what, _Atomic uint64_t *worst)
{
    printf("  %-20s opening %.1f ms, closing %.1f, beginning to read %.1f, to write %.1f\n", what,
           milliseconds(atomic_load(&worst[PHASE_OPEN])),
           milliseconds(atomic_load(&worst[PHASE_CLOSE])),
           milliseconds(atomic_load(&worst[PHASE_BEGIN_READ])),
           milliseconds(atomic_load(&worst[PHASE_BEGIN_WRITE])));
}

static void print_attacks(const struct herd *herd, uint64_t ns)
{
    static const char *const short_name[PHASES] = {"idle", "open",        "close", "begin read",
                                                   "read", "begin write", "write", "commit"};
    printf("  %-20s %8llu   ", "kills", (unsigned long long)herd->kills);
    for (int i = 0; i < PHASES; i++)
        printf("%s %llu%s", short_name[i], (unsigned long long)herd->killed_in[i],
               i + 1 < PHASES ? ", " : "\n");
    printf("  %-20s %8llu   in %.1f s, %llu rounds\n", "stops", (unsigned long long)herd->stops,
           milliseconds(ns) / 1000, (unsigned long long)herd->rounds);
}

static void print_work(void)
{
    printf("  %-20s %8llu   %llu aborted, %llu second writers refused\n", "commits",
           (unsigned long long)counted(COUNT_COMMITS), (unsigned long long)counted(COUNT_ABORTS),
           (unsigned long long)counted(COUNT_TRIES));
    if (counted(COUNT_BATCHES) + counted(COUNT_OVERTAKEN) > 0)
        printf("  %-20s %8llu   committed by one call, %llu were overtaken\n", "batches",
               (unsigned long long)counted(COUNT_BATCHES),
               (unsigned long long)counted(COUNT_OVERTAKEN));
    printf("  %-20s %8llu   %llu refreshed, %llu waits for a newer one, %llu by processes that may "
           "not write\n",
           "snapshots", (unsigned long long)counted(COUNT_SNAPSHOTS),
           (unsigned long long)counted(COUNT_REFRESHES), (unsigned long long)counted(COUNT_WAITS),
           (unsigned long long)counted(COUNT_GUESTS));
    printf("  %-20s %8llu   snapshots with expired entries, %llu with a clock that was behind\n",
           "times", (unsigned long long)counted(COUNT_EXPIRED),
           (unsigned long long)counted(COUNT_BEHIND));
    printf("  %-20s %8llu   side file gone after closing %llu times\n", "opens",
           (unsigned long long)counted(COUNT_OPENS), (unsigned long long)counted(COUNT_EMPTY));
}

static void print_processes(const struct herd *herd)
{
    printf("  %-20s %8llu   %llu by a raw clone, %llu in their parent's place, %llu calls refused, "
           "%llu parents killed\n",
           "children", (unsigned long long)(counted(COUNT_FORKS) + counted(COUNT_CLONES)),
           (unsigned long long)counted(COUNT_CLONES), (unsigned long long)counted(COUNT_STAND_INS),
           (unsigned long long)counted(COUNT_REFUSED), (unsigned long long)herd->parents_killed);
    for (uint32_t i = 0; i < herd->peers; i++)
        printf("  %-20s %8llu   started of %s\n", "processes", (unsigned long long)herd->starts[i],
               herd->peer[i]);
}

static void print_violations(void)
{
    uint64_t unheard = counted(COUNT_PIPE_FULL);
    printf("  %-20s %8llu   ", "violations", (unsigned long long)torture_violations());
    for (int i = 0; i < VIOLATIONS; i++)
        if (violations[i] > 0)
            printf("%s %llu  ", torture_violation_name((enum violation)i),
                   (unsigned long long)violations[i]);
    printf(unheard > 0 ? "not heard %llu\n" : "\n", (unsigned long long)unheard);
    for (size_t i = 0; i < n_found; i++)
        if (found[i].times > 1)
            printf("  %8llu times: %s\n", (unsigned long long)found[i].times,
                   found[i].message.text);
}

void torture_report(const struct herd *herd, uint64_t ns)
{
    print_attacks(herd, ns);
    print_work();
    print_processes(herd);
    print_waits("worst wait", board->worst);
    print_waits("  of it unexplained", board->worst_blame);
    print_violations();
}
