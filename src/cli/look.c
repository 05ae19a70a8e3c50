/* look.c - see look.h. */
#include "look.h"
#include "json.h"
#include "session.h"
#include <string.h>

int look_fail(const cli_args *args, int result, const char *doing)
{
    return session_explain(args->file, result, doing, "", "");
}

int look_open(const cli_args *args, kv_inspect **look)
{
    char sentence[512];
    int result = kv_inspect_open(args->file, look, sentence, sizeof sentence);
    if (result == KV_OK)
        return 0;
    return session_explain(args->file, result, "", sentence,
                           result == KV_ENOTKV ? "is this the right file?" : "");
}

const char *look_type(uint32_t type)
{
    switch (type) {
    case KV_PAGE_LEAF:
        return "leaf";
    case KV_PAGE_BRANCH:
        return "branch";
    case KV_PAGE_LOG:
        return "log";
    case KV_PAGE_MAP:
        return "map";
    case KV_PAGE_MAP_DIR:
        return "map-dir";
    case KV_PAGE_BLOCKED:
        return "blocked";
    case KV_PAGE_META:
        return "meta";
    case KV_PAGE_LARGE:
        return "large";
    default:
        return "other";
    }
}

const char *look_state(uint32_t state)
{
    static const char *const names[] = {"unknown", "used", "free", "dead", "leaked", "beyond"};
    return state < sizeof names / sizeof names[0] ? names[state] : "?";
}

const char *look_owner(uint32_t owner)
{
    return owner == KV_OWNER_MAIN        ? "main tree"
           : owner == KV_OWNER_CATALOG   ? "catalog"
           : owner == KV_OWNER_SPACE     ? "free-space records"
           : owner == KV_OWNER_SNAPSHOTS ? "snapshots"
                                         : NULL;
}

const char *look_problem(const char *problem)
{
    static const char *const texts[][2] = {
        {"N1", "type and level are not those of a node"},
        {"N2", "arrays and heap overlap or leave the page"},
        {"N3", "an entry lies outside the heap or is too long"},
        {"N4", "the keys do not ascend"},
        {"N5", "the hints are not the sampled heads"},
        {"N6", "the head of a short key is not padded with zeros"},
        {"N7", "a pointer leads out of the file or to a younger page"},
        {"N8", "it is not the page that should be here: another number or birth"},
        {"N9", "its checksum does not match its bytes"},
        {"T4", "its level is not one below that of its parent"},
        {"C1", "an entry describes no tree, or no snapshot"},
        {"V1", "a special entry has no known form"},
        {"V2", "the place or length of a large value is impossible"},
        {"V3", "the large value does not match its checksum"},
        {"M0", "this meta is not sound"},
        {"IO", "it cannot be read"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (strcmp(texts[i][0], problem) == 0)
            return texts[i][1];
    return "";
}

void look_json_owner(uint32_t owner)
{
    const char *name = owner == KV_OWNER_TREE ? "tree" : look_owner(owner);
    json_name("owner");
    if (name)
        json_text(name);
    else
        json_null();
}

void look_json_problem(const char *problem)
{
    json_name("problem");
    if (*problem)
        json_text(problem);
    else
        json_null();
}

void look_json_pointer(const char *name, kv_pointer ptr)
{
    json_name(name);
    if (ptr.page == 0) {
        json_null();
        return;
    }
    json_open('{');
    json_name("page");
    json_number(ptr.page);
    json_name("birth");
    json_number(ptr.birth);
    json_close('}');
}
