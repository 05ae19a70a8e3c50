/* commands.c - the table of commands. What a person reads about a command stands here. */
#include "cli.h"
#include <string.h>

#define O(id)  ARG_BIT(ARG_##id)
#define RANGE  (O(PREFIX) | O(FROM) | O(TO) | O(LIMIT) | O(REVERSE))
#define TREE   (O(TREE) | O(ESCAPED) | O(TUPLE))
#define PLAIN  (O(TREE) | O(ESCAPED)) /* keys in files are bytes */
#define STORE  (O(DURABILITY) | O(PAGE_SIZE) | O(COMPRESS) | O(WAIT))
#define KEYS   CLI_KEY_OPERANDS
#define RANGES "Keys are compared byte by byte. --from is included, --to is not.\n"

const cli_command cli_commands[] = {
    {"get", "read show fetch", "FILE KEY", "print the value of a key",
     "Control characters, bytes that are not UTF-8 and the backslash are printed as\n"
     "\\t \\n \\r \\xNN \\\\, and a newline follows; --raw gives the exact bytes. In a tree\n"
     "of several values for each key, all values are printed.\n"
     "Exit status 1: there is no such key.\n",
     "  kv get phone.kv alice\n"
     "  kv get photos.kv cat.jpg --raw >cat.jpg\n",
     2, 2, KEYS, TREE | O(AT) | O(RAW) | O(JSON) | O(QUIET) | O(WAIT), cmd_get},
    {"put", "set write store insert add", "FILE KEY VALUE|-", "store a value under a key",
     "Creates the file and the tree when they are missing, and replaces an older value. In a\n"
     "tree of several values for each key, made by --multi, it is added to them, sorted.\n"
     "The value - is read from standard input, byte for byte.\n"
     "Exit status 1: --if-absent, --if-present or --if-equals did not hold; nothing was\n"
     "changed.\n",
     "  kv put phone.kv alice '+1 555 0100'\n"
     "  kv put photos.kv cat.jpg - <cat.jpg\n"
     "  kv put -e things.kv 'two\\nlines' '\\x00\\x01'\n"
     "  kv put things.kv --tree tags --multi article-7 databases\n"
     "  kv put sessions.kv 3f2a alice --ttl 2h\n"
     "  kv put --tuple shop.kv '(\"order\", \"2024-01-15\", 1001)' '2 lamps'\n",
     3, 3, KEYS,
     TREE | STORE | O(MULTI) | O(IF_ABSENT) | O(IF_PRESENT) | O(IF_EQUALS) | O(TTL) | O(KEEP_TTL) |
         O(JSON) | O(QUIET),
     cmd_put},
    {"cas", "compare swap-if", "FILE KEY OLD NEW", "change a value if it is still the expected one",
     "With --from-absent (KEY NEW) the key must not be there yet; with --to-absent (KEY OLD)\n"
     "it is removed. Of several who try at once exactly one succeeds. The new value does not\n"
     "expire.\n"
     "Exit status 1: the key has another value or is absent; nothing was changed.\n",
     "  kv cas jobs.kv job:7 waiting running && echo mine\n"
     "  kv cas locks.kv door --from-absent \"$HOSTNAME\"\n"
     "  kv cas locks.kv door --to-absent \"$HOSTNAME\"\n",
     3, 4, KEYS, TREE | STORE | O(FROM_ABSENT) | O(TO_ABSENT) | O(JSON) | O(QUIET), cmd_cas},
    {"swap", "exchange getset take", "FILE KEY [VALUE]", "store a value and print the one before",
     "Without VALUE the key is removed. The old value is printed as by get; nothing when\n"
     "there was none, or null with --json. The new value does not expire.\n"
     "Exit status 1: there was nothing to remove.\n",
     "  kv swap jobs.kv owner \"$HOSTNAME\"\n"
     "  kv swap jobs.kv owner\n",
     2, 3, KEYS, TREE | STORE | O(RAW) | O(JSON) | O(QUIET), cmd_swap},
    {"incr", "increment add decr count-up", "FILE KEY [DELTA]", "add to a number and print the sum",
     "Creates what is missing: an absent key counts as 0, or as --initial says. DELTA is 1,\n"
     "or any number of 64 bits, also a negative one. Numbers are decimal text, as put\n"
     "stores them. Any number of commands may count at once: none is lost.\n"
     "Exit status 1: the sum would leave the range, or the value is not a number; nothing\n"
     "was changed.\n",
     "  kv incr site.kv views\n"
     "  kv incr stock.kv apples -3 --initial 100\n"
     "  kv incr sums.kv total 0.25 --float\n",
     2, 3, KEYS, TREE | STORE | O(INITIAL) | O(FLOAT) | O(BINARY) | O(JSON) | O(QUIET), cmd_incr},
    {"append", "concat extend", "FILE KEY VALUE|-", "put bytes behind a value",
     "Creates what is missing: an absent key counts as empty. The value - is read from\n"
     "standard input.\n"
     "Exit status 1: the value would be longer than --max-size; nothing was changed.\n",
     "  kv append log.kv today 'one more line, '\n"
     "  kv append log.kv today - --max-size 1M <lines\n",
     3, 3, KEYS, TREE | STORE | O(MAX_SIZE) | O(JSON) | O(QUIET), cmd_append},
    {"pop", "shift dequeue poll", "FILE", "remove the first entry of a range and print it",
     "One line: key, tab, value, escaped as by scan. With keys that grow, a queue.\n"
     "Exit status 1: the range has no entry.\n",
     "  kv pop queue.kv --prefix mail: --values-only\n"
     "  kv pop stack.kv --last\n",
     1, 1, KEYS,
     TREE | O(PREFIX) | O(FROM) | O(TO) | O(LAST) | O(VALUES_ONLY) | O(JSON) | O(DURABILITY) |
         O(QUIET) | O(WAIT),
     cmd_pop},
    {"del", "delete rm remove unset erase", "FILE [KEY...]", "remove keys, or a range of keys",
     "All removals are one transaction. With options for a range instead of keys, the\n"
     "range is removed and the number of entries is printed; --all removes everything, an\n"
     "empty bound alone nothing.\n"
     "`kv count` with the same options tells beforehand how many these are.\n" RANGES
     "In a tree of several values for each key all go, or the one that --value names.\n"
     "Exit status 1: one of the keys was not there (the others are removed), or the key has\n"
     "not the value that --if-equals says.\n",
     "  kv del phone.kv alice bob\n"
     "  kv del locks.kv door --if-equals mine\n"
     "  kv del sessions.kv --prefix 2023-\n",
     1, -1, KEYS,
     TREE | RANGE | O(ALL) | O(VALUE) | O(IF_EQUALS) | O(JSON) | O(DURABILITY) | O(QUIET) | O(WAIT),
     cmd_del},
    {"has", "exists contains test", "FILE KEY", "tell by exit status whether a key is there",
     "Prints nothing, but with --json. Exit status 0: it is there, 1: it is not.\n",
     "  kv has phone.kv alice && echo yes\n", 2, 2, KEYS,
     TREE | O(AT) | O(JSON) | O(QUIET) | O(WAIT), cmd_has},
    {"scan", "list ls keys range find", "FILE", "print the entries of a range",
     "One line per entry: key, tab, value, escaped as by get. With --json, one JSON\n"
     "object per line; keys and values are strings, or {\"hex\":\"...\"} when they are not\n"
     "UTF-8.\n" RANGES,
     "  kv scan phone.kv --prefix al --limit 10\n"
     "  kv scan shop.kv --tuple --prefix '(\"order\", \"2024-01-15\")'\n"
     "  kv scan log.kv --reverse --limit 1\n",
     1, 1, KEYS,
     TREE | RANGE | O(AT) | O(KEYS_ONLY) | O(VALUES_ONLY) | O(JSON) | O(QUIET) | O(WAIT), cmd_scan},
    {"count", "size length number", "FILE", "print the number of entries in a range",
     "Takes no longer for a million entries than for ten.\n" RANGES,
     "  kv count phone.kv --from a --to n\n", 1, 1, KEYS, TREE | RANGE | O(AT) | O(JSON) | O(WAIT),
     cmd_count},
    {"rank", "position index zrank", "FILE KEY", "print how many keys are smaller than a key",
     "The key need not be there: with --json, found tells. Takes no longer for a million entries\n"
     "than for ten, as do nth, random, percentile and split.\n",
     "  kv rank phone.kv m\n", 2, 2, KEYS, TREE | O(AT) | O(JSON) | O(WAIT), cmd_rank},
    {"nth", "at zrange", "FILE N", "print entry number N of a range, counted from 0",
     "With --reverse from the last one down.\n" RANGES
     "Exit status 1: the range has no more than N entries.\n",
     "  kv nth phone.kv 0\n"
     "  kv nth log.kv 9 --reverse\n",
     2, 2, 0, TREE | RANGE | O(AT) | O(JSON) | O(QUIET) | O(WAIT), cmd_nth},
    {"random", "sample randomkey", "FILE", "print an entry of a range, chosen at random",
     "Each has the same chance. --limit N draws so many, one after the other; the same entry may\n"
     "come again.\n" RANGES "Exit status 1: the range is empty.\n",
     "  kv random words.kv --prefix a --limit 5\n", 1, 1, 0,
     TREE | RANGE | O(AT) | O(JSON) | O(QUIET) | O(WAIT), cmd_random},
    {"percentile", "median quantile", "FILE P", "print the entry at a percentile of a range",
     "0 is the first entry, 50 the median, 100 the last: the first one such that P percent of\n"
     "all are not behind it.\n" RANGES "Exit status 1: the range is empty.\n",
     "  kv percentile latencies.kv 99.9\n", 2, 2, 0,
     TREE | RANGE | O(AT) | O(JSON) | O(QUIET) | O(WAIT), cmd_percentile},
    {"split", "divide shards", "FILE N", "print the keys that divide a range into N equal parts",
     "One key less than there are parts, fewer if there are fewer entries; each is the first\n"
     "of its part. So N commands share a scan: --to the first key, --from it, and so on.\n" RANGES,
     "  kv split words.kv 4\n", 2, 2, 0, TREE | RANGE | O(AT) | O(JSON) | O(WAIT), cmd_split},
    {"expire", "ttl-set", "FILE KEY DURATION", "let a key expire after a time",
     "From then on the key is not there for anybody: 500ms, 10s, 5m, 2h, 3d from now. 0\n"
     "makes it expire at once.\n"
     "Exit status 1: there is no such key.\n",
     "  kv expire sessions.kv 3f2a 30m\n", 3, 3, KEYS,
     TREE | O(JSON) | O(DURABILITY) | O(QUIET) | O(WAIT), cmd_expire},
    {"persist", "keep forever", "FILE KEY", "let a key never expire",
     "Exit status 1: there is no such key.\n", "  kv persist sessions.kv 3f2a\n", 2, 2, KEYS,
     TREE | O(JSON) | O(DURABILITY) | O(QUIET) | O(WAIT), cmd_persist},
    {"touch", "renew refresh extend", "FILE KEY DURATION", "put the expiry of a key off",
     "To the given time from now, if that is later than it was, by --min-gain at least; a\n"
     "key that does not expire stays so.\n"
     "Exit status 1: there is no such key.\n",
     "  kv touch sessions.kv 3f2a 30m --min-gain 1m\n", 3, 3, KEYS,
     TREE | O(MIN_GAIN) | O(JSON) | O(DURABILITY) | O(QUIET) | O(WAIT), cmd_touch},
    {"ttl", "expiry remaining pttl", "FILE KEY", "print how many milliseconds a key has left",
     "-1: it does not expire.\n"
     "Exit status 1: there is no such key.\n",
     "  kv ttl sessions.kv 3f2a\n", 2, 2, KEYS, TREE | O(AT) | O(JSON) | O(QUIET) | O(WAIT),
     cmd_ttl},
    {"sweep", "vacuum gc reap", "FILE", "remove what has expired",
     "Nobody sees expired entries, but they take room until they are swept, or their keys are\n"
     "put again. Of all trees, or of --tree ('': the main one); --limit removes no more than so "
     "many.\n",
     "  kv sweep sessions.kv\n", 1, 1, 0,
     O(TREE) | O(LIMIT) | O(JSON) | O(DURABILITY) | O(QUIET) | O(WAIT), cmd_sweep},
    {"clock", "time", "FILE", "compare the file's clock with the system's",
     "Expiry is judged by the greater of the two. A file's clock that is more than a day\n"
     "ahead was set by a wrong system clock; --reset sets it back, and what has expired by\n"
     "the wrong time and was not swept is there again.\n"
     "Exit status 1: it is more than a day ahead.\n",
     "  kv clock sessions.kv --reset\n", 1, 1, 0, O(RESET) | O(JSON) | O(WAIT), cmd_clock},
    {"import", "load", "FILE [SOURCE|-]", "store many entries from a file or standard input",
     "Reads lines of key, tab, value with the escapes \\t \\n \\r \\\\ \\xNN, or a dump by\n"
     "mdb_dump or db_dump, which is recognised by itself. A database in a dump that has\n"
     "a name goes to the tree of that name; one with sorted duplicates goes to a tree of\n"
     "several values for each key. Later entries replace earlier ones. All is\n"
     "one transaction: after an error nothing was imported, unless --batch is given.\n",
     "  kv import words.kv words.tsv\n"
     "  mdb_dump -a ~/old-lmdb | kv import new.kv\n",
     1, 2, KEYS,
     PLAIN | STORE | O(MULTI) | O(FORMAT) | O(EXPIRY) | O(BATCH) | O(FILL) | O(MEMORY) | O(JSON) |
         O(QUIET),
     cmd_import},
    {"export", "dump unload", "FILE", "write entries in a form that import reads",
     "text: one line per entry, so that `kv export | kv import` is exact; of entries that\n"
     "expire with --expiry on both sides, of a tree of several values for each key with\n"
     "--tree NAME --multi when it is imported: a warning tells where either is needed.\n"
     "mdb_dump: for LMDB's mdb_load. db_dump: for Berkeley DB's db_load; with these two, --all\n"
     "exports every tree.\n" RANGES,
     "  kv export phone.kv | sort -k 2\n"
     "  kv export phone.kv --format mdb_dump --all | mdb_load ~/new-lmdb\n",
     1, 1, KEYS,
     PLAIN | RANGE | O(AT) | O(FORMAT) | O(EXPIRY) | O(ALL) | O(PRINT) | O(QUIET) | O(WAIT),
     cmd_export},
    {"watch", "follow subscribe listen tail", "FILE [KEY]", "wait for changes and print them",
     "Sleeps until some program changes KEY, a key of the range, or the tree; then prints a line\n"
     "per change: the number of the commit, a mark, key and value. + is a new key, * another\n"
     "value, - a key that is gone, with its last value. Changes of several commits may be\n"
     "printed as one, and what was changed back meanwhile is not printed. With --json, an object\n"
     "per wake-up. --all watches every tree; its name precedes the key. A tree that is made or\n"
     "dropped has a line with + or - and its name alone.\n"
     "Exit status 1: nothing changed for the time of --timeout, 3: the file was removed or\n"
     "replaced.\n" RANGES,
     "  kv watch flags.kv lamp --once\n"
     "  kv watch jobs.kv --prefix new/ --json | jq .changes\n",
     1, 2, KEYS | CLI_FOLLOWS,
     TREE | O(PREFIX) | O(FROM) | O(TO) | O(ALL) | O(ONCE) | O(TIMEOUT) | O(JSON) | O(WAIT),
     cmd_watch},
    {"trees", "tables buckets databases", "FILE", "list the trees with their sizes", "",
     "  kv trees phone.kv\n", 1, 1, 0, O(AT) | O(JSON) | O(WAIT), cmd_trees},
    {"stat", "info status stats", "FILE", "show sizes, pages and commits of a file",
     "Pages that were replaced are kept while a reader needs them: the oldest snapshot\n"
     "that is being read, and what it holds back, are shown with the readers. It is about the\n"
     "whole file, of which a snapshot is a part: hence no --at; snapshot list and trees --at tell\n"
     "about one.\n",
     "  kv stat phone.kv --json | jq .free_pages\n", 1, 1, 0, O(JSON) | O(WAIT), cmd_stat},
    {"top", "du bigkeys biggest largest", "FILE",
     "show what takes the room: trees, prefixes, entries",
     "The trees by size, and of all trees, or of the one of --tree, the largest values, the\n"
     "longest keys, and the prefixes of keys with most bytes on the disk: up to and with\n"
     "delimiter number --depth. --limit N: lines of each list, 10 if not given. Leaves are\n"
     "read, large values are not. --tree '': the main tree alone.\n",
     "  kv top phone.kv\n"
     "  kv top files.kv --delimiter / --depth 2 --json | jq '.prefixes[0]'\n",
     1, 1, 0, TREE | O(AT) | O(DELIMITER) | O(DEPTH) | O(LIMIT) | O(JSON) | O(QUIET) | O(WAIT),
     cmd_top},
    {"readers", "who users ps lsof locks sessions", "FILE", "list who reads which snapshot",
     "One line per open read transaction of every process, oldest snapshot first: the\n"
     "commit that it sees, for how long, how many replaced pages cannot be used again\n"
     "while it lasts (readers of one snapshot hold back the same pages), and the number\n"
     "of the process, as the process itself knows it. A guest may not write the file;\n"
     "since when it reads is not known.\n",
     "  kv readers phone.kv\n"
     "  kv readers phone.kv --json | jq '.[0].process'\n",
     1, 1, 0, O(JSON) | O(WAIT), cmd_readers},
    {"check", "verify validate fsck", "FILE", "check every page of a file",
     "Prints a line when all is well, or each problem: the page, the first invariant that it\n"
     "breaks, and the way there from the root: 12@3 40 is page 12, its child 3, page 40.\n"
     "Writers go on meanwhile. The pages of all snapshots are checked too: hence no --at.\n"
     "A meta that a crash left half written is no problem: a note tells of it.\n"
     "Exit status 4: there are problems.\n",
     "  kv check phone.kv\n", 1, 1, CLI_LISTS_DAMAGE, O(JSON) | O(QUIET) | O(WAIT), cmd_check},
    {"repair", "recover fix", "FILE", "make a file usable that an ordinary open refuses",
     "Adopts the newest whole commit and rebuilds the free-space records from the trees.\n"
     "Nobody else may have the file open: --wait waits for those who have, by default not at\n"
     "all. Copy the file first if you can.\n",
     "  kv repair phone.kv\n", 1, 1, 0, O(WAIT), cmd_repair},
    {"salvage", "rescue extract undelete", "FILE DEST",
     "read what can be read of a damaged file into a new one",
     "Says exactly what was lost: pages, ranges of keys, large values, names of trees. Entries\n"
     "whose tree cannot be told go to trees lost+found-N. FILE is never written to, DEST never\n"
     "overwritten. While FILE is read others wait with writing, so it waits for its turn.\n"
     "With --json, an object per line.\n"
     "Exit status 0: all was recovered, 1: something was lost, or may have been since nothing\n"
     "tells how much there was, 3: nothing is readable. --quiet tells of losses alone.\n",
     "  kv salvage damaged.kv saved.kv\n", 2, 2, 0, O(JSON) | O(QUIET) | O(WAIT), cmd_salvage},
    {"pages", "map layout", "FILE", "list the pages of a file, damaged or not",
     "A line per page: number, type, level, birth, entries, state, tree, and what is wrong with\n"
     "it; then a table of how many there are of each type; --quiet: the table alone.\n"
     "Exit status 4: a page in use or of a named snapshot is damaged; of the two metas, both.\n",
     "  kv pages phone.kv --quiet\n"
     "  kv pages damaged.kv --json | jq 'select(.problem)'\n",
     1, 1, 0, O(JSON) | O(QUIET), cmd_pages},
    {"page", "dissect decode", "FILE NUMBER", "show one page of a file, decoded",
     "Header, prefix and entries; values are shown by their length, with --redact keys and\n"
     "names too, so that a broken page can be shown to others. --hex adds the raw bytes.\n"
     "Exit status 4: the page is damaged.\n",
     "  kv page damaged.kv 17 --redact\n", 2, 2, 0, O(JSON) | O(REDACT) | O(HEX), cmd_page},
    {"meta", "header head super", "FILE [DEST]", "show both metas of a file side by side",
     "Each describes one commit: which of them are sound, which one an open takes, and why.\n"
     "--choose 0 or 1 writes a copy to DEST whose newest commit is that of the given meta.\n"
     "Exit status 4: no meta is sound, or the one to be chosen is not.\n",
     "  kv meta phone.kv\n"
     "  kv meta damaged.kv --choose 1 older.kv\n",
     1, 2, 0, O(JSON) | O(CHOOSE), cmd_meta},
    {"copy", "clone cp", "FILE DEST|-", "write a consistent copy",
     "The copy is of one commit, and it is on the disk when the command ends. An existing\n"
     "DEST is never overwritten; - is standard output. Named snapshots are copied too, but\n"
     "for --compact, and for --at, which copies one of them as if it were the newest commit.\n",
     "  kv copy phone.kv backup.kv --compact\n"
     "  kv copy phone.kv - | ssh host 'cat >phone.kv'\n",
     2, 2, 0, O(AT) | O(COMPACT) | O(FILL) | O(QUIET) | O(WAIT), cmd_copy},
    {"compact", "shrink vacuum defrag optimize", "FILE", "make a file smaller while it is used",
     "Puts the entries of half empty pages together, moves pages from the end of the file into\n"
     "holes further up, in many small steps between which others read and write, and hands the\n"
     "end back. What a reader or a named snapshot needs stays; then a line says so.\n",
     "  kv compact phone.kv\n", 1, 1, 0, O(JSON) | O(QUIET) | O(WAIT), cmd_compact},
    {"snapshot", "checkpoint savepoint tag undo restore", "create|list|drop|restore FILE [NAME]",
     "keep what a file holds now under a name",
     "create: gives the newest commit a name; it stays readable, with --at NAME of the\n"
     "reading commands, until it is dropped. It takes no space at first, and later that of\n"
     "what was replaced since.\n"
     "list: name, time, commit, entries, and the space that only this snapshot holds.\n"
     "drop: forgets it; the space can be used again.\n"
     "restore: makes the present what the snapshot is, in one commit. The snapshot stays.\n"
     "--durability is for drop and restore.\n"
     "Exit status 1: no snapshot of that name, or for create one that is there already.\n",
     "  kv snapshot create phone.kv 'before the import'\n"
     "  kv snapshot list phone.kv\n"
     "  kv get phone.kv alice --at 'before the import'\n"
     "  kv snapshot restore phone.kv 'before the import'\n",
     2, 3, KEYS, O(DURABILITY) | O(ESCAPED) | O(JSON) | O(WAIT), cmd_snapshot},
    {"diff", "changes compare delta", "FILE FROM [TO]",
     "print what was changed since a snapshot, or between two",
     "A line per change, tab-separated: + (added), - (removed) or ~ (another value), the tree\n"
     "(empty: the main one), the key, the old value, the new one, escaped as by get. A tree that "
     "is\n"
     "new is > and its name, one that is gone <. With --json, an object per line. Without TO, up\n"
     "to now. Reads only what was changed. FROM and TO are names of snapshots, or commits, as\n"
     "snapshot list, watch and stat tell them: the newest, or one that a snapshot keeps.\n"
     "--tree: only this one; '' is the main tree.\n" RANGES,
     "  kv diff phone.kv 'before the import'\n"
     "  kv diff phone.kv monday tuesday --json | jq -r .key\n"
     "  kv diff phone.kv 1234\n",
     2, 3, KEYS, PLAIN | O(PREFIX) | O(FROM) | O(TO) | O(LIMIT) | O(KEYS_ONLY) | O(JSON) | O(WAIT),
     cmd_diff},
    {"backup", "incremental send dump", "FILE",
     "write a backup, whole or since a commit, to a pipe",
     "A backup since a commit has what was changed since, and costs as much; it takes no\n"
     "snapshot of that commit. `kv apply` brings a copy up with it: the copy's `kv stat` shows\n"
     "which commit of the original it repeats. Without --since it is a backup of all.\n"
     "--at NAME: up to that snapshot, not to the newest commit.\n"
     "--follow goes on, a backup for each new commit, until the reader goes away, or the file\n"
     "is removed or replaced (exit status 3).\n",
     "  kv backup shop.kv >full.kvb\n"
     "  kv backup shop.kv --since 1234 >monday.kvb\n"
     "  kv backup shop.kv --follow | ssh standby kv follow shop.kv\n",
     1, 1, CLI_FOLLOWS, O(AT) | O(SINCE) | O(FOLLOW) | O(QUIET) | O(WAIT), cmd_backup},
    {"apply", "receive patch", "FILE [BACKUP...]", "bring a copy up with backups",
     "Reads backups from files, in order, or from standard input, and applies each in one\n"
     "transaction: readers of FILE keep their snapshots. A backup of all makes FILE when it is\n"
     "missing, with pages of the original's size unless --page-size is given. Otherwise FILE is a\n"
     "copy, made by kv copy or by a backup of all, and has not been changed by anything else\n"
     "since.\n"
     "Exit status 1: a backup does not fit, 4: it is damaged, or there is none. It changes\n"
     "nothing then, but a FILE that was missing may be there, empty.\n",
     "  kv apply copy.kv full.kvb monday.kvb tuesday.kvb\n"
     "  kv backup shop.kv --since $(kv stat copy.kv --json | jq .origin_id) | kv apply copy.kv\n",
     1, -1, 0, O(DURABILITY) | O(PAGE_SIZE) | O(JSON) | O(QUIET) | O(WAIT), cmd_apply},
    {"follow", "standby replicate replica mirror", "FILE",
     "keep a copy up to date from a stream of backups",
     "As apply from standard input: each backup is applied as soon as it is there, until the\n"
     "stream ends.\n",
     "  ssh shop kv backup shop.kv --follow --since $(kv stat shop.kv --json | jq .origin_id) |\n"
     "      kv follow shop.kv\n",
     1, 1, 0, O(DURABILITY) | O(PAGE_SIZE) | O(JSON) | O(QUIET) | O(WAIT), cmd_apply},
    {"merge", "combine join consolidate", "BACKUP [BACKUP...]",
     "make one backup of consecutive ones, to a pipe",
     "Each backup leads on from the one before it. The merged one fits where the first does\n"
     "and leads to where the last does; what was overwritten in between is left out. Of\n"
     "thousands of small ones, merge a thousand at a time: each entry is looked for in all.\n"
     "Exit status 1: a backup does not lead on, 4: it is damaged.\n",
     "  kv merge monday.kvb tuesday.kvb wednesday.kvb >week.kvb\n"
     "  kv merge full.kvb week.kvb >newer-full.kvb\n",
     1, -1, 0, O(QUIET), cmd_merge},
    {"version", "", "", "print the version", "", "", 0, 0, 0, 0, cmd_version},
    {"help", "man usage", "[COMMAND]", "explain kv or one of its commands", "", "", 0, 1, 0, 0,
     cmd_help},
};

const int cli_command_count = (int)(sizeof cli_commands / sizeof cli_commands[0]);

const cli_command *cli_command_find(const char *name)
{
    for (int i = 0; i < cli_command_count; i++) {
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    }
    return NULL;
}
