/* dump.h - the portable dump of LMDB (mdb_dump, mdb_load) and Berkeley DB (db_dump, db_load).
 *
 *     VERSION=3            a section: one database
 *     format=bytevalue     or print
 *     database=NAME        not for the main one
 *     type=btree
 *     HEADER=END
 *      6b6579              a blank, the key; a blank, the value; ...
 *      76616c7565
 *     DATA=END
 *
 * bytevalue is pairs of hexadecimal digits. print shows printable ASCII as it is and the rest as a
 * backslash and two digits. The two programs differ: db_load refuses the header lines mapsize and
 * maxreaders, without which mdb_load cannot take more than a megabyte; Berkeley DB escapes a
 * database's name, LMDB does not. */
#ifndef DUMP_H
#define DUMP_H

#include "lines.h"

typedef struct dump_style {
    bool print;
    bool berkeley;     /* for db_load, else for mdb_load */
    bool multi;        /* the tree has several values for each key */
    uint64_t map_size; /* for mdb_load: bytes of the address space that it needs */
} dump_style;

#define DUMP_LMDB_MAX 511 /* bytes of a key, of one of several values, and of a name, in LMDB */

/* Writing. A name with ptr NULL is the main database. */
void dump_write_header(const dump_style *style, kv_slice name);
void dump_write_entry(const dump_style *style, kv_slice key, kv_slice value);
void dump_write_end(void);

/* Whether the header can carry this name. */
bool dump_name_fits(const dump_style *style, kv_slice name);

typedef struct dump_reader {
    cli_lines *lines;
    bool print; /* of the current section */
    bool multi; /* it has several values for each key */
    char *key;  /* the line before the current one */
    size_t key_capacity;
    char *name; /* of the current section, NULL for the main database */
    size_t name_len;
} dump_reader;

void dump_reader_begin(dump_reader *reader, cli_lines *lines);
void dump_reader_end(dump_reader *reader);

/* Goes to the next section and reads its header. 1, 0 at the end, -1 after a message. */
int dump_read_section(dump_reader *reader);

/* The next entry of the section; it is valid until the next call. 1, 0 at the end of the section,
 * -1 after a message. */
int dump_read_entry(dump_reader *reader, kv_pair *pair);

/* Whether this line begins a dump. */
bool dump_begins(const cli_lines *lines);

#endif
