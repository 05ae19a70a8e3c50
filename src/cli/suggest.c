/* suggest.c - see suggest.h. */
#include "suggest.h"
#include "cli.h"
#include <string.h>

#define WORD_MAX 24 /* letters; nothing that we know is longer */
#define FAR      99

/* Letters to add, drop, change or swap with their neighbour to make one word the other. */
static int suggest_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int cost[WORD_MAX + 1][WORD_MAX + 1];
    if (a_len > WORD_MAX || b_len > WORD_MAX)
        return FAR;
    for (size_t i = 0; i <= a_len; i++) {
        for (size_t j = 0; j <= b_len; j++) {
            if (i == 0 || j == 0) {
                cost[i][j] = (int)(i + j);
                continue;
            }
            int best = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = cost[i - 1][j] + 1 < best ? cost[i - 1][j] + 1 : best;
            best = cost[i][j - 1] + 1 < best ? cost[i][j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && cost[i - 2][j - 2] + 1 < best)
                best = cost[i - 2][j - 2] + 1;
            cost[i][j] = best;
        }
    }
    return cost[a_len][b_len];
}

/* A beginning of the name counts as near; otherwise up to two mistakes, fewer in short words. */
static int suggest_score(const char *word, size_t len, const char *name, size_t name_len)
{
    if (len >= 2 && len < name_len && strncmp(word, name, len) == 0)
        return 1;
    int distance = suggest_distance(word, len, name, name_len);
    int allowed = len <= 3 ? 1 : 2;
    return distance <= allowed ? distance : FAR;
}

/* The best score of the words in a list that blanks separate. */
static int suggest_score_list(const char *word, const char *list)
{
    int best = FAR;
    while (*list) {
        size_t len = strcspn(list, " ");
        bool same = strlen(word) == len && strncmp(word, list, len) == 0;
        int score = same ? 0 : FAR;
        best = score < best ? score : best;
        list += len + strspn(list + len, " ");
    }
    return best;
}

const cli_command *suggest_command(const char *word)
{
    const cli_command *found = NULL;
    int best = FAR;
    for (int i = 0; i < cli_command_count; i++) {
        const cli_command *command = &cli_commands[i];
        int score = suggest_score(word, strlen(word), command->name, strlen(command->name));
        int other = suggest_score_list(word, command->also);
        score = other < score ? other : score;
        if (score < best) {
            best = score;
            found = command;
        }
    }
    return found;
}

const args_option *suggest_option(const char *name, size_t len, const cli_command *command)
{
    const args_option *found = NULL;
    int best = FAR;
    for (int id = 0; id < ARG_COUNT; id++) {
        if (command && !(command->options & ARG_BIT(id)))
            continue;
        const args_option *option = &args_options[id];
        int score = suggest_score(name, len, option->name, strlen(option->name));
        if (score < best) {
            best = score;
            found = option;
        }
    }
    return found;
}
