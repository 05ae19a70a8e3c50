/* change.h - one change between two commits, as text and as JSON. */
#ifndef CHANGE_H
#define CHANGE_H

#include "args.h"

/* A line: the commit, one of + * - (a new key, another value, a key that is gone), key, the value (of
 * a key that is gone, the old one), separated by tabs and escaped. Of a tree that is made or dropped:
 * its name in place of the key. named: the name of the tree precedes the key.
 * args: how keys are printed. */
void change_write(const cli_args *args, uint64_t commit, const kv_change *change, bool named);

/* An object, in whatever is open. */
void change_write_json(const cli_args *args, const kv_change *change);

/* Is it about a tree, not about a key? Who asks for a range of keys does not want it. */
bool change_of_tree(const kv_change *change);

#endif
