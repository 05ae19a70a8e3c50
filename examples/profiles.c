/* profiles.c - user profiles as JSON and as MessagePack, side by side: profiles [FILE [USERS]]
 *
 * kv keeps bytes and does not ask what they mean. Here each profile goes through a library of its own
 * (cJSON, msgpack-c) into a tree of its own, and comes back; sizes and speeds are printed. */
#include <cjson/cJSON.h>
#include <kv.h>
#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct profile {
    uint64_t id;
    char name[32], mail[48], city[16];
    int64_t born;
    double balance;
    bool verified;
    char tags[3][12];
} profile;

static void make_profile(profile *p, uint64_t id)
{
    static const char *const cities[] = {"Accra", "Bergen", "Cusco", "Dakar"};
    static const char *const tags[] = {"beta", "editor", "partner", "staff", "trial"};
    memset(p, 0, sizeof *p);
    p->id = id;
    snprintf(p->name, sizeof p->name, "User %llu", (unsigned long long)id);
    snprintf(p->mail, sizeof p->mail, "user%llu@mail.example", (unsigned long long)id);
    snprintf(p->city, sizeof p->city, "%s", cities[id % 4]);
    p->born = 1940 + (int64_t)(id * 7 % 70);
    p->balance = (double)(id * 7919 % 100000) / 4;
    p->verified = id % 3 != 0;
    for (unsigned i = 0; i < 3; i++)
        snprintf(p->tags[i], sizeof p->tags[i], "%s", tags[(id + i) % 5]);
}

/* ---- the two forms: each packs a profile into bytes to be freed, and reads one back ---- */

static char *json_pack(const profile *p, size_t *len)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddNumberToObject(o, "id", (double)p->id);
    cJSON_AddStringToObject(o, "name", p->name);
    cJSON_AddStringToObject(o, "mail", p->mail);
    cJSON_AddStringToObject(o, "city", p->city);
    cJSON_AddNumberToObject(o, "born", (double)p->born);
    cJSON_AddNumberToObject(o, "balance", p->balance);
    cJSON_AddBoolToObject(o, "verified", p->verified);
    cJSON *tags = cJSON_AddArrayToObject(o, "tags");
    for (unsigned i = 0; i < 3; i++)
        cJSON_AddItemToArray(tags, cJSON_CreateString(p->tags[i]));
    char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    *len = text ? strlen(text) : 0;
    return text;
}

static double json_number(const cJSON *o, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, name);
    return cJSON_IsNumber(item) ? item->valuedouble : -1;
}

static void json_text(const cJSON *item, char *text, size_t size)
{
    snprintf(text, size, "%s", cJSON_IsString(item) ? item->valuestring : "");
}

static bool json_unpack(kv_slice bytes, profile *p)
{
    cJSON *o = cJSON_ParseWithLength(bytes.ptr, bytes.len);
    if (!o)
        return false;
    memset(p, 0, sizeof *p);
    p->id = (uint64_t)json_number(o, "id");
    json_text(cJSON_GetObjectItemCaseSensitive(o, "name"), p->name, sizeof p->name);
    json_text(cJSON_GetObjectItemCaseSensitive(o, "mail"), p->mail, sizeof p->mail);
    json_text(cJSON_GetObjectItemCaseSensitive(o, "city"), p->city, sizeof p->city);
    p->born = (int64_t)json_number(o, "born");
    p->balance = json_number(o, "balance");
    p->verified = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "verified"));
    const cJSON *tags = cJSON_GetObjectItemCaseSensitive(o, "tags");
    for (int i = 0; i < 3; i++)
        json_text(cJSON_GetArrayItem(tags, i), p->tags[i], sizeof p->tags[i]);
    cJSON_Delete(o);
    return true;
}

static void pack_text(msgpack_packer *packer, const char *text)
{
    msgpack_pack_str(packer, strlen(text));
    msgpack_pack_str_body(packer, text, strlen(text));
}

/* An array: the order of the members is the agreement between writer and reader. */
static char *message_pack(const profile *p, size_t *len)
{
    msgpack_sbuffer buffer;
    msgpack_packer packer;
    msgpack_sbuffer_init(&buffer);
    msgpack_packer_init(&packer, &buffer, msgpack_sbuffer_write);
    msgpack_pack_array(&packer, 8);
    msgpack_pack_uint64(&packer, p->id);
    pack_text(&packer, p->name);
    pack_text(&packer, p->mail);
    pack_text(&packer, p->city);
    msgpack_pack_int64(&packer, p->born);
    msgpack_pack_double(&packer, p->balance);
    p->verified ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer);
    msgpack_pack_array(&packer, 3);
    for (unsigned i = 0; i < 3; i++)
        pack_text(&packer, p->tags[i]);
    *len = buffer.size;
    return msgpack_sbuffer_release(&buffer);
}

static void message_text(const msgpack_object *item, char *text, size_t size)
{
    if (item->type == MSGPACK_OBJECT_STR)
        snprintf(text, size, "%.*s", (int)item->via.str.size, item->via.str.ptr);
}

static bool message_unpack(kv_slice bytes, profile *p)
{
    msgpack_unpacked message;
    msgpack_unpacked_init(&message);
    bool whole =
        msgpack_unpack_next(&message, bytes.ptr, bytes.len, NULL) == MSGPACK_UNPACK_SUCCESS;
    const msgpack_object *all = &message.data;
    whole = whole && all->type == MSGPACK_OBJECT_ARRAY && all->via.array.size == 8;
    if (whole) {
        const msgpack_object *item = all->via.array.ptr;
        memset(p, 0, sizeof *p);
        p->id = item[0].via.u64;
        message_text(&item[1], p->name, sizeof p->name);
        message_text(&item[2], p->mail, sizeof p->mail);
        message_text(&item[3], p->city, sizeof p->city);
        p->born = item[4].via.i64;
        p->balance = item[5].via.f64;
        p->verified = item[6].via.boolean;
        for (unsigned i = 0; i < 3 && i < item[7].via.array.size; i++)
            message_text(&item[7].via.array.ptr[i], p->tags[i], sizeof p->tags[i]);
    }
    msgpack_unpacked_destroy(&message);
    return whole;
}

static const struct form {
    const char *name;
    char *(*pack)(const profile *p, size_t *len);
    bool (*unpack)(kv_slice bytes, profile *p);
} forms[] = {{"JSON", json_pack, json_unpack}, {"MessagePack", message_pack, message_unpack}};

/* ---- the database ---- */

/* Users in the order of their numbers: the key is the number, most significant byte first. */
static void user_key(uint64_t id, unsigned char key[8])
{
    for (int i = 0; i < 8; i++)
        key[i] = (unsigned char)(id >> (56 - 8 * i));
}

static int store_all(kv_db *db, const struct form *form, uint64_t users, uint64_t *bytes)
{
    kv_txn *txn;
    kv_tree *tree;
    profile p;
    int result = kv_txn_begin(db, KV_TXN_WRITE, &txn);
    if (result != KV_OK)
        return result;
    result = kv_tree_open(txn, form->name, strlen(form->name), KV_TREE_CREATE, NULL, &tree);
    for (uint64_t id = 1; id <= users && result == KV_OK; id++) {
        unsigned char key[8];
        size_t len;
        make_profile(&p, id);
        char *packed = form->pack(&p, &len);
        user_key(id, key);
        result = packed ? kv_put(tree, key, sizeof key, packed, len, 0) : KV_ENOMEM;
        *bytes += len;
        free(packed);
    }
    if (result == KV_OK)
        return kv_txn_commit(txn);
    kv_txn_abort(txn);
    return result;
}

/* Every profile comes back as it was; they are read where they lie, without a copy. */
static int read_all(kv_db *db, const struct form *form, uint64_t users)
{
    kv_txn *txn;
    kv_tree *tree;
    profile p, expected;
    int result = kv_txn_begin(db, KV_TXN_READ, &txn);
    if (result != KV_OK)
        return result;
    result = kv_tree_open(txn, form->name, strlen(form->name), 0, NULL, &tree);
    for (uint64_t i = 1; i <= users && result == KV_OK; i++) {
        unsigned char key[8];
        kv_slice bytes;
        uint64_t id = i * 7919 % users + 1;
        user_key(id, key);
        result = kv_get(tree, key, sizeof key, &bytes);
        make_profile(&expected, id);
        if (result == KV_OK && (!form->unpack(bytes, &p) || memcmp(&p, &expected, sizeof p) != 0))
            result = KV_MISMATCH;
    }
    kv_txn_abort(txn);
    return result;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int show(kv_db *db, const struct form *form, uint64_t users)
{
    uint64_t bytes = 0;
    double start = seconds();
    int result = store_all(db, form, users, &bytes);
    double stored = seconds();
    if (result == KV_OK)
        result = read_all(db, form, users);
    double read = seconds();
    if (result == KV_OK)
        printf("%-12s %5.1f bytes a profile, stored %7.0f a second, read and unpacked %7.0f\n",
               form->name, (double)bytes / (double)users, (double)users / (stored - start),
               (double)users / (read - stored));
    return result;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "profiles.kv";
    uint64_t users = argc > 2 ? strtoull(argv[2], NULL, 10) : 10000;
    kv_db *db;
    int result = users > 0 ? kv_db_open(path, NULL, &db) : KV_EINVAL;
    if (result != KV_OK) {
        fprintf(stderr, "profiles: %s: %s\n", path, kv_strerror(result));
        return 1;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms && result == KV_OK; i++)
        result = show(db, &forms[i], users);
    if (result != KV_OK)
        fprintf(stderr, "profiles: %s\n", kv_strerror(result));
    return kv_db_close(db) != KV_OK || result != KV_OK;
}
