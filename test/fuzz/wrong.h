/* wrong.h - calls that kv.h declares to be mistakes, each with the error it names. Nothing changes. */
#ifndef WRONG_H
#define WRONG_H

#include "kv.h"

/* Handles that may write; wrong_batch while nobody does. */
void wrong_handle(kv_db *db);
void wrong_batch(kv_db *db);

void wrong_reader(kv_txn *txn);
void wrong_writer(kv_txn *txn);

#endif
