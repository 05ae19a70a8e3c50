/* orders.c - the orders of a shop, by day and number, under keys of several parts.
 *
 *     orders add DAY NUMBER TEXT    enter an order, if that number is free
 *     orders day DAY                the orders of a day, by number
 *     orders from DAY DAY           the number of orders from a day up to the day before another
 *     orders latest [N]             the newest orders first
 *     orders                        enters some into an empty shop and shows all this
 *
 * With keys such as "order:2024-01-15:1001", number 1001 would stand before number 999, and a customer
 * named "15:1001" could not be told from an order. A tuple keeps each part apart and in its own order,
 * and the tuple of its first parts is the prefix of all that begin with them. */
#include <errno.h>
#include <kv.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_SIZE 128

typedef struct orders_shop {
    kv_db *db;
    kv_txn *txn;
} orders_shop;

static void check(const orders_shop *shop, int result, const char *doing)
{
    char text[256] = "";
    if (result >= 0)
        return;
    if (shop->db)
        kv_db_errmsg(shop->db, text, sizeof text);
    fprintf(stderr, "orders: %s: %s\n", doing, *text ? text : kv_strerror(result));
    exit(1);
}

static void begin(orders_shop *shop, uint32_t flags)
{
    check(shop, kv_txn_begin(shop->db, flags, &shop->txn), "begin");
}

/* ("order", day) or ("order", day, number). Gives its length. */
static size_t order_key(const orders_shop *shop, const char *day, const uint64_t *number, void *key)
{
    size_t len;
    kv_part parts[] = {
        {.type = KV_PART_TEXT, .bytes = {"order", 5}},
        {.type = KV_PART_TEXT, .bytes = {day, strlen(day)}},
        {.type = KV_PART_UINT, .number = number ? *number : 0},
    };
    check(shop, kv_tuple_encode(parts, number ? 3 : 2, key, KEY_SIZE, &len), "key");
    return len;
}

static void print_order(const orders_shop *shop, kv_slice key, kv_slice value)
{
    kv_tuple_reader reader;
    kv_part what, day, number;
    char room[KEY_SIZE];
    check(shop, kv_tuple_begin(&reader, key.ptr, key.len, room, sizeof room), "key");
    if (kv_tuple_next(&reader, &what) == KV_OK && kv_tuple_next(&reader, &day) == KV_OK &&
        kv_tuple_next(&reader, &number) == KV_OK)
        printf("%.*s %6llu  %.*s\n", (int)day.bytes.len, (const char *)day.bytes.ptr,
               (unsigned long long)number.number, (int)value.len, (const char *)value.ptr);
}

static void print_range(orders_shop *shop, const kv_range *range)
{
    kv_cursor *cursor;
    kv_slice key, value;
    begin(shop, KV_TXN_READ);
    check(shop, kv_cursor_open(kv_txn_main(shop->txn), range, &cursor), "reading");
    while (kv_cursor_next(cursor) == KV_OK && kv_cursor_get(cursor, &key, &value) == KV_OK)
        print_order(shop, key, value);
    kv_txn_abort(shop->txn);
}

static int add(orders_shop *shop, const char *day, uint64_t number, const char *text)
{
    uint8_t key[KEY_SIZE];
    size_t len = order_key(shop, day, &number, key);
    begin(shop, KV_TXN_WRITE);
    int result = kv_put(kv_txn_main(shop->txn), key, len, text, strlen(text), KV_PUT_ABSENT);
    check(shop, result, "add");
    if (result == KV_OK)
        check(shop, kv_txn_commit(shop->txn), "commit");
    else
        kv_txn_abort(shop->txn);
    return result;
}

static void print_day(orders_shop *shop, const char *day)
{
    uint8_t key[KEY_SIZE];
    kv_range range = {.size = sizeof range, .prefix = key};
    range.prefix_len = order_key(shop, day, NULL, key);
    print_range(shop, &range);
}

static void print_latest(orders_shop *shop, uint64_t n)
{
    print_range(shop, &(kv_range){.size = sizeof(kv_range), .limit = n, .flags = KV_RANGE_REVERSE});
}

static uint64_t count(orders_shop *shop, const char *from, const char *to)
{
    uint8_t from_key[KEY_SIZE], to_key[KEY_SIZE];
    uint64_t n;
    kv_range range = {.size = sizeof range, .from = from_key, .to = to_key};
    range.from_len = order_key(shop, from, NULL, from_key);
    range.to_len = order_key(shop, to, NULL, to_key);
    begin(shop, KV_TXN_READ);
    check(shop, kv_count(kv_txn_main(shop->txn), &range, &n), "count");
    kv_txn_abort(shop->txn);
    return n;
}

static void show(orders_shop *shop)
{
    add(shop, "2024-01-15", 1001, "2 lamps");
    add(shop, "2024-01-15", 999, "1 chair");
    add(shop, "2024-01-14", 7, "3 cups");
    add(shop, "2024-01-16", 1, "1 table");
    puts("2024-01-15, by number:");
    print_day(shop, "2024-01-15");
    puts("the two latest:");
    print_latest(shop, 2);
    printf("orders before the 16th: %llu\n",
           (unsigned long long)count(shop, "2024-01-01", "2024-01-16"));
}

/* Digits only: strtoull alone would take a word for 0 and -5 for a large number. */
static bool number_read(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == 0 && errno == 0;
}

int main(int argc, char **argv)
{
    uint64_t number = 10;
    const char *what = argc > 1 ? argv[1] : "";
    orders_shop shop = {NULL, NULL};
    check(&shop, kv_db_open("orders.kv", NULL, &shop.db), "orders.kv");
    int result = KV_OK;
    if (strcmp(what, "add") == 0 && argc == 5 && number_read(argv[3], &number))
        result = add(&shop, argv[2], number, argv[4]);
    else if (strcmp(what, "day") == 0 && argc == 3)
        print_day(&shop, argv[2]);
    else if (strcmp(what, "from") == 0 && argc == 4)
        printf("%llu\n", (unsigned long long)count(&shop, argv[2], argv[3]));
    else if (strcmp(what, "latest") == 0 &&
             (argc == 2 || (argc == 3 && number_read(argv[2], &number))))
        print_latest(&shop, number);
    else if (argc == 1)
        show(&shop);
    else
        result = KV_EINVAL;
    if (result == KV_EINVAL)
        fputs("usage: orders [add DAY NUMBER TEXT | day DAY | from DAY DAY | latest [N]]\n",
              stderr);
    else if (result == KV_EXISTS)
        fputs("orders: that number is taken\n", stderr);
    check(&shop, kv_db_close(shop.db), "close");
    return result != KV_OK;
}
