/* dump.c - writing dumps: see dump.h. */
#include "dump.h"
#include "out.h"
#include <string.h>

/* Some versions of mdb_load lose a doubled backslash, none loses its number. */
static void dump_write_print(const dump_style *style, kv_slice bytes)
{
    const uint8_t *ptr = bytes.ptr;
    for (size_t i = 0; i < bytes.len && !out_failed(); i++) {
        if (ptr[i] == '\\')
            out_text(style->berkeley ? "\\\\" : "\\5c");
        else if (ptr[i] >= 0x20 && ptr[i] < 0x7f)
            out_char((char)ptr[i]);
        else
            out_format("\\%02x", ptr[i]);
    }
}

void dump_write_header(const dump_style *style, kv_slice name)
{
    out_format("VERSION=3\nformat=%s\n", style->print ? "print" : "bytevalue");
    if (name.ptr) {
        out_text("database=");
        if (style->berkeley)
            dump_write_print(style, name);
        else
            out_bytes(name.ptr, name.len);
        out_char('\n');
    }
    out_text(style->multi ? "type=btree\nduplicates=1\ndupsort=1\n" : "type=btree\n");
    if (!style->berkeley)
        out_format("mapsize=%llu\nmaxreaders=126\n", (unsigned long long)style->map_size);
    out_text("db_pagesize=4096\nHEADER=END\n");
}

static void dump_write_line(const dump_style *style, kv_slice bytes)
{
    out_char(' ');
    if (style->print)
        dump_write_print(style, bytes);
    else
        out_hex(bytes);
    out_char('\n');
}

void dump_write_entry(const dump_style *style, kv_slice key, kv_slice value)
{
    dump_write_line(style, key);
    dump_write_line(style, value);
}

void dump_write_end(void)
{
    out_text("DATA=END\n");
}

bool dump_name_fits(const dump_style *style, kv_slice name)
{
    if (style->berkeley || !name.ptr)
        return true;
    return name.len > 0 && name.len <= DUMP_LMDB_MAX && !memchr(name.ptr, '\n', name.len) &&
           !memchr(name.ptr, 0, name.len);
}
