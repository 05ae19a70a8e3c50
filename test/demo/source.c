/* source.c - reads Debian's package index and the Unicode character table into sorted arrays. */
#include "demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_file(const char *path, size_t *len)
{
    FILE *in = fopen(path, "rb");
    size_t size = 1 << 20, got;
    char *text = malloc(size);
    if (!in)
        demo_die("cannot read %s", path);
    for (*len = 0; text && (got = fread(text + *len, 1, size - *len, in)) > 0;) {
        *len += got;
        if (*len == size)
            text = realloc(text, size *= 2);
    }
    if (!text || ferror(in))
        demo_die("cannot read %s", path);
    fclose(in);
    return text;
}

static void add(struct source *source, struct record record)
{
    if ((source->n & (source->n - 1)) == 0) { /* full: 0, 1, 2, 4, ... */
        size_t room = source->n ? source->n * 2 : 1;
        source->records = realloc(source->records, room * sizeof record);
        if (!source->records)
            demo_die("out of memory");
    }
    source->records[source->n++] = record;
}

/* By key, and of equal keys the one that the file has first. */
static int compare_records(const void *left, const void *right)
{
    const struct record *a = left, *b = right;
    int order = memcmp(a->key, b->key, a->key_len < b->key_len ? a->key_len : b->key_len);
    if (order == 0)
        order = (a->key_len > b->key_len) - (a->key_len < b->key_len);
    return order ? order : (a->key > b->key) - (a->key < b->key);
}

static bool same_key(const struct record *a, const struct record *b)
{
    return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0;
}

static void sort_and_keep_first(struct source *source)
{
    size_t kept = 0;
    if (source->n > 1)
        qsort(source->records, source->n, sizeof *source->records, compare_records);
    for (size_t i = 0; i < source->n; i++)
        if (kept == 0 || !same_key(&source->records[kept - 1], &source->records[i]))
            source->records[kept++] = source->records[i];
    source->n = kept;
}

/* How many bytes there are before the next of that character, or before the end. */
static size_t length_to(const char *at, const char *end, char stop)
{
    const char *found = memchr(at, stop, (size_t)(end - at));
    return (size_t)((found ? found : end) - at);
}

/* Stanzas are separated by empty lines. Key: what stands behind "Package: " in the first line.
 * Value: the stanza with its last newline. */
static void read_packages(struct source *source, const char *path)
{
    size_t len;
    source->text = read_file(path, &len);
    const char *at = source->text, *end = at + len;
    while (at < end) {
        if (*at == '\n') {
            at++;
            continue;
        }
        const char *gap = memmem(at, (size_t)(end - at), "\n\n", 2);
        const char *stop = gap ? gap + 1 : end;
        if (stop - at < 9 || memcmp(at, "Package: ", 9) != 0)
            demo_die("%s: a stanza does not begin with a package's name", path);
        size_t name = length_to(at + 9, stop, '\n');
        add(source, (struct record){at + 9, name, at, (size_t)(stop - at)});
        at = stop;
    }
    sort_and_keep_first(source);
}

/* Key: what stands before the first semicolon. Value: the rest of the line behind it. */
static void read_unicode(struct source *source, const char *path)
{
    size_t len;
    source->text = read_file(path, &len);
    const char *at = source->text, *end = at + len;
    while (at < end) {
        size_t line = length_to(at, end, '\n'), key = length_to(at, at + line, ';');
        if (key == line)
            demo_die("%s: a line has no semicolon", path);
        add(source, (struct record){at, key, at + key + 1, line - key - 1});
        at += line + 1;
    }
    sort_and_keep_first(source);
}

static void shuffle(struct data *data)
{
    uint64_t random = 88172645463325252u;
    data->shuffled = malloc(data->n * sizeof *data->shuffled);
    if (!data->shuffled)
        demo_die("out of memory");
    for (size_t i = 0; i < data->n; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        size_t other = random % (i + 1);
        data->shuffled[i] = data->shuffled[other];
        data->shuffled[other] = (uint32_t)i;
    }
}

void demo_read_sources(struct data *data, const char *packages, const char *unicode)
{
    memset(data, 0, sizeof *data);
    read_packages(&data->packages, packages);
    read_unicode(&data->unicode, unicode);
    data->n = data->packages.n + data->unicode.n;
    if (data->packages.n == 0 || data->unicode.n == 0)
        demo_die("%s is empty", data->packages.n == 0 ? packages : unicode);
    shuffle(data);
}

void demo_free_sources(struct data *data)
{
    free(data->packages.records);
    free(data->packages.text);
    free(data->unicode.records);
    free(data->unicode.text);
    free(data->shuffled);
}

const struct record *demo_record(const struct data *data, size_t index)
{
    if (index < data->packages.n)
        return &data->packages.records[index];
    return &data->unicode.records[index - data->packages.n];
}
