/* cmd_page.c - kv page: one page, decoded. */
#include "cli.h"
#include "json.h"
#include "look.h"
#include "out.h"
#include "units.h"
#include <stdio.h>
#include <string.h>

#define PAGE_MOST 65536 /* bytes */

typedef struct cli_page {
    const cli_args *args;
    kv_inspect *look;
    kv_page_info info;
    bool json, redact;
    uint8_t bytes[PAGE_MOST];
    size_t len;
} cli_page;

/* Bytes, or how many they are. */
static void page_print_bytes(const cli_page *page, kv_slice bytes)
{
    if (page->redact)
        out_format("<%zu bytes>", bytes.len);
    else if (bytes.len == 0)
        out_text("''");
    else
        out_escaped(bytes);
}

static void page_json_bytes(const cli_page *page, const char *name, kv_slice bytes)
{
    char redacted[UNITS_MAX];
    snprintf(redacted, sizeof redacted, "%s_length", name);
    json_name(page->redact ? redacted : name);
    if (page->redact)
        json_number(bytes.len);
    else
        json_bytes(bytes);
}

/* ---- header ---- */

typedef struct page_field {
    const char *name;
    uint64_t value;
} page_field;

#define PAGE_FIELDS 10

static void page_fields(const kv_page_info *info, page_field fields[PAGE_FIELDS])
{
    const page_field all[PAGE_FIELDS] = {
        {"level", info->level},
        {"birth", info->birth},
        {"count", info->count},
        {"heap", info->heap},
        {"dead", info->dead},
        {"prefix_len", info->prefix_len},
        {"fixed_key", info->fixed_key},
        {"fixed_value", info->fixed_value},
        {"hint_stride", info->hint_stride},
        {"flags", info->flags},
    };
    memcpy(fields, all, sizeof all);
}

static bool page_has_header(const kv_page_info *info)
{
    return info->type != KV_PAGE_META && info->type != KV_PAGE_LARGE && info->birth != 0;
}

static bool page_is_node(const kv_page_info *info)
{
    return info->type == KV_PAGE_LEAF || info->type == KV_PAGE_BRANCH;
}

/* The prefix that the keys share, if the page is one with keys: 16 bytes in the header, the rest at
 * the end. */
static kv_slice page_prefix(const cli_page *page, uint8_t *prefix)
{
    size_t len = page->info.prefix_len, front = len < 16 ? len : 16;
    if (len > page->len / 4 || page->len < 64)
        return (kv_slice){prefix, 0};
    memcpy(prefix, page->bytes + 48, front);
    memcpy(prefix + front, page->bytes + page->len - (len - front), len - front);
    return (kv_slice){prefix, len};
}

static void page_print_checksum(const kv_page_info *info)
{
    out_format("checksum     %016llx", (unsigned long long)info->checksum);
    if (info->right_checksum == 0)
        out_text(", cannot be verified: the seed is lost\n");
    else if (info->right_checksum == info->checksum)
        out_text(", right\n");
    else
        out_format(", WRONG: should be %016llx\n", (unsigned long long)info->right_checksum);
}

static void page_print_header(const cli_page *page)
{
    static uint8_t prefix[PAGE_MOST];
    const kv_page_info *info = &page->info;
    page_field fields[PAGE_FIELDS];
    const char *owner = look_owner(info->owner);
    out_format("page %llu: %s, %s", (unsigned long long)info->page, look_type(info->type),
               look_state(info->state));
    if (owner) {
        out_format(", %s", owner);
    } else if (info->owner == KV_OWNER_TREE) {
        out_text(", tree ");
        page_print_bytes(page, info->tree);
    }
    out_char('\n');
    if (*info->problem)
        out_format("DAMAGED      %s: %s\n", info->problem, look_problem(info->problem));
    if (info->type == KV_PAGE_LARGE)
        out_format("first page   %llu\n", (unsigned long long)info->first);
    if (info->type == KV_PAGE_META)
        out_text("kv meta shows what it says\n");
    if (!page_has_header(info))
        return;
    page_print_checksum(info);
    if (info->named != info->page)
        out_format("names itself %llu\n", (unsigned long long)info->named);
    page_fields(info, fields);
    for (size_t i = 0; i < PAGE_FIELDS; i++)
        out_format("%-12s %llu\n", fields[i].name, (unsigned long long)fields[i].value);
    if (page_is_node(info) && info->prefix_len) {
        out_text("prefix       ");
        page_print_bytes(page, page_prefix(page, prefix));
        out_char('\n');
    }
}

static void page_json_header(const cli_page *page)
{
    static uint8_t prefix[PAGE_MOST];
    const kv_page_info *info = &page->info;
    page_field fields[PAGE_FIELDS];
    json_name("page");
    json_number(info->page);
    json_name("type");
    json_text(look_type(info->type));
    json_name("state");
    json_text(look_state(info->state));
    look_json_owner(info->owner);
    if (info->owner == KV_OWNER_TREE)
        page_json_bytes(page, "tree", info->tree);
    look_json_problem(info->problem);
    if (!page_has_header(info))
        return;
    json_name("checksum_ok");
    if (info->right_checksum)
        json_bool(info->right_checksum == info->checksum);
    else
        json_null();
    page_fields(info, fields);
    for (size_t i = 0; i < PAGE_FIELDS; i++) {
        json_name(fields[i].name);
        json_number(fields[i].value);
    }
    if (page_is_node(info))
        page_json_bytes(page, "prefix", page_prefix(page, prefix));
}

/* ---- entries ---- */

static void page_print_leaf_slot(const cli_page *page, const kv_page_slot *slot)
{
    page_print_bytes(page, slot->key);
    out_format("  %llu bytes%s%s%s", (unsigned long long)slot->value_len,
               slot->flags & KV_SLOT_COMPRESSED ? ", compressed" : "",
               slot->flags & KV_SLOT_LARGE ? ", large" : "",
               slot->flags & KV_SLOT_BROKEN ? ", of no known form" : "");
    if (slot->flags & KV_SLOT_LARGE)
        out_format(": %llu pages from %llu, birth %llu", (unsigned long long)slot->pages,
                   (unsigned long long)slot->child.page, (unsigned long long)slot->child.birth);
    if (slot->flags & KV_SLOT_TREE)
        out_format(": root %llu, birth %llu, %llu entries", (unsigned long long)slot->child.page,
                   (unsigned long long)slot->child.birth, (unsigned long long)slot->entries);
}

static void page_print_branch_slot(const cli_page *page, const kv_page_slot *slot)
{
    out_format("page %llu, birth %llu", (unsigned long long)slot->child.page,
               (unsigned long long)slot->child.birth);
    if (page->info.type != KV_PAGE_BRANCH)
        return;
    out_format(", %llu entries, ", (unsigned long long)slot->entries);
    if (slot->key.ptr) {
        out_text("from ");
        page_print_bytes(page, slot->key);
    } else {
        out_text("from the first");
    }
}

static void page_json_slot(const cli_page *page, const kv_page_slot *slot)
{
    json_open('{');
    if (page->info.type == KV_PAGE_LEAF) {
        page_json_bytes(page, "key", slot->key);
        json_name("value_length");
        json_number(slot->value_len);
        json_name("large");
        json_bool(slot->flags & KV_SLOT_LARGE);
        json_name("compressed");
        json_bool(slot->flags & KV_SLOT_COMPRESSED);
    } else if (slot->key.ptr) {
        page_json_bytes(page, "separator", slot->key);
    }
    if (page->info.type != KV_PAGE_LEAF || (slot->flags & (KV_SLOT_LARGE | KV_SLOT_TREE)))
        look_json_pointer("to", slot->child);
    if (page->info.type == KV_PAGE_BRANCH || (slot->flags & KV_SLOT_TREE)) {
        json_name("entries");
        json_number(slot->entries);
    }
    json_close('}');
}

static int page_on_slot(void *context, const kv_page_slot *slot)
{
    const cli_page *page = context;
    if (page->json) {
        page_json_slot(page, slot);
        return out_failed();
    }
    out_format("%5u  ", slot->index);
    if (page->info.type == KV_PAGE_LEAF)
        page_print_leaf_slot(page, slot);
    else
        page_print_branch_slot(page, slot);
    out_char('\n');
    return out_failed();
}

/* ---- raw bytes ---- */

static void page_print_hex(const cli_page *page)
{
    for (size_t at = 0; at < page->len; at += 16) {
        out_format("%08zx ", at);
        for (size_t i = at; i < at + 16; i++)
            out_format("%s%02x", i % 8 == 0 ? "  " : " ", page->bytes[i]);
        out_text("  |");
        for (size_t i = at; i < at + 16; i++)
            out_char(page->bytes[i] >= 0x20 && page->bytes[i] < 0x7f ? (char)page->bytes[i] : '.');
        out_text("|\n");
    }
}

static void page_show_raw(const cli_page *page)
{
    if (!args_given(page->args, ARG_HEX))
        return;
    if (!page->json) {
        page_print_hex(page);
        return;
    }
    static char hex[2 * PAGE_MOST + 1];
    for (size_t i = 0; i < page->len; i++)
        snprintf(hex + 2 * i, 3, "%02x", page->bytes[i]);
    json_name("hex");
    json_text(hex);
}

/* ---- the command ---- */

static int page_show(cli_page *page)
{
    int result =
        kv_inspect_bytes(page->look, page->info.page, page->bytes, sizeof page->bytes, &page->len);
    if (result != KV_OK)
        page->len = 0; /* the header says that it cannot be read */
    if (page->json) {
        json_open('{');
        page_json_header(page);
        json_name("slots");
        json_open('[');
    } else {
        page_print_header(page);
    }
    result = kv_inspect_slots(page->look, page->info.page, page_on_slot, page);
    if (result == KV_ECORRUPT && !page->json)
        out_text("its entries are beyond reading\n");
    if (page->json)
        json_close(']');
    page_show_raw(page);
    if (page->json) {
        json_close('}');
        json_end();
    }
    return *page->info.problem ? CLI_DAMAGED : CLI_DONE;
}

int cmd_page(const cli_args *args)
{
    static cli_page page;
    uint64_t number;
    page.args = args;
    page.json = args_given(args, ARG_JSON);
    page.redact = args_given(args, ARG_REDACT);
    if (!units_read_number(args->operands[0].text, &number))
        return args_wrong(args, "%s: should be the number of a page",
                          cli_quote(args->operands[0].bytes));
    if (page.redact && args_given(args, ARG_HEX))
        return args_wrong(args, "--hex shows what --redact hides");
    int code = look_open(args, &page.look);
    if (code)
        return code;
    page.info.size = sizeof page.info;
    int result = kv_inspect_page(page.look, number, &page.info);
    if (result == KV_NOTFOUND) {
        cli_say(args->file, "there is no page %llu; it has %llu", (unsigned long long)number,
                (unsigned long long)kv_inspect_pages(page.look));
        code = CLI_NO;
    } else {
        code = result == KV_OK ? page_show(&page) : look_fail(args, result, "page");
    }
    kv_inspect_close(page.look);
    return code;
}
