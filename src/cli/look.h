/* look.h - what the commands that look inside a file share: opening it, names of types and states. */
#ifndef LOOK_H
#define LOOK_H

#include "args.h"

/* 0, or the exit code after a message. */
int look_open(const cli_args *args, kv_inspect **look);

/* Says what went wrong. Gives the exit code. */
int look_fail(const cli_args *args, int result, const char *doing);

const char *look_type(uint32_t type);
const char *look_state(uint32_t state);

/* "main tree", "catalog", "snapshots", "free-space records", or NULL for a named tree and for no owner. */
const char *look_owner(uint32_t owner);

/* What an invariant is about, for people. */
const char *look_problem(const char *problem);

/* Members: who has a page, and what is wrong with it. */
void look_json_owner(uint32_t owner);
void look_json_problem(const char *problem);

/* A member with a pointer: {"page":...,"birth":...}, or null. */
void look_json_pointer(const char *name, kv_pointer ptr);

#endif
