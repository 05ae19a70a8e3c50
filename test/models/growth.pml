/* The file grows and shrinks while readers look at it through their maps.
 *
 * Two processes write by turns, durably or lazily, with any high-water mark, and are killed; each
 * remembers the size that it last saw, and cuts the file at once or in pieces. Readers pin and go
 * on reading old commits.
 *
 * Shown: the file is never shorter than the commit that a reader sees, than the published, or than
 * the durable one.
 *
 * Rules that can be taken away:
 *   LATE_GROWTH   the file grows before its commit is published
 *   STALE_SIZE    a writer asks for the size at the beginning of each turn
 *   TRIM_BLIND    the file is not cut while an older snapshot than the shrinking commit is pinned
 *   TRIM_EARLY    nor before that commit is published
 *   TRIM_LAZY     nor before it is durable
 *   NO_HANDOVER   which commit shrank is handed over from writer to writer
 *   LEFT_BLIND    what a dead writer left is cut when all snapshots are as new as who finds it
 */
#ifndef READERS
#define READERS 2
#endif
#ifndef VERSIONS
#define VERSIONS 5
#endif
#define SIZES 3

byte size = 1;
byte high[VERSIONS + 1] = 1; /* high-water marks */
byte published = 1, durable = 1, meta = 1;
byte shrunk;                 /* handed over with the published record */
byte pin[READERS];
bool turn;

#define OR_DIE :: goto killed

inline trim()
{
    do
    :: atomic { i < READERS && (pin[i] == 0 || pin[i] >= lower) -> i++ }
#ifdef TRIM_BLIND
    :: atomic { i < READERS && pin[i] != 0 && pin[i] < lower -> i++ }
#else
    :: atomic { i < READERS && pin[i] != 0 && pin[i] < lower -> break }
#endif
    :: atomic {
           i == READERS ->
           if
           :: size > high[published] && size > high[durable] -> /* as far as may be */
                  size = (high[published] > high[durable] -> high[published] : high[durable]);
                  lower = 0
           :: size > high[published] + 1 && size > high[durable] + 1 -> size-- /* a piece */
           :: size <= high[published] || size <= high[durable] -> lower = 0
           fi;
           known = size;
           break
       }
    od;
    i = 0
}

inline check()
{
    assert(size >= high[published] && size >= high[durable])
}

active [2] proctype writer()
{
    byte known = 1, id, lower, i;

take:
end:
    atomic {
        !turn && meta < VERSIONS ->
        turn = true;
#ifndef STALE_SIZE
        known = size;
#endif
        if
        :: meta > published -> /* adopted */
               durable = meta; published = meta; shrunk = 0
        :: else
        fi;
#ifndef NO_HANDOVER
        lower = shrunk;
#endif
        id = meta + 1;
        if
        :: high[id] = 1
        :: high[id] = 2
        :: high[id] = SIZES
        fi;
        if
        :: high[id] < high[id - 1] -> lower = id
        :: lower == 0 && known > high[id] && known > high[id - 1] && known > high[durable] ->
#ifdef LEFT_BLIND
               lower = 1
#else
               lower = id /* somebody died before he had cut all */
#endif
        :: else
        fi
    }
#ifdef TRIM_EARLY
    atomic { known = high[id]; size = (lower == id -> high[id] : size) }
#endif
#ifndef LATE_GROWTH
    atomic {
        if
        :: known < high[id] -> known = high[id]; size = known
        :: known >= high[id]
        OR_DIE
        fi
    }
#endif
    atomic {
        if
        :: meta = id; durable = id
        :: meta = id /* lazily */
        OR_DIE
        fi
    }
    atomic {
        if
        :: published = id; shrunk = lower
        OR_DIE
        fi
    }
#ifdef LATE_GROWTH
    atomic {
        if
        :: known < high[id] -> known = high[id]; size = known
        :: else
        fi
    }
#endif
    check();
#ifdef TRIM_LAZY
    size = (lower != 0 && size > high[published] -> high[published] : size);
#endif
    if
    :: lower != 0 && durable >= lower -> trim()
    :: else
    OR_DIE
    fi;
    check();
killed:
    atomic {
        id = 0;
        i = 0;
#ifndef NO_HANDOVER
        lower = 0;
#endif
        turn = false;
        goto take
    }
}

active [READERS] proctype reader()
{
    byte seen;

begin:
    seen = published;
store:
    pin[_pid - 2] = seen;
    atomic {
        if
        :: published == seen
        :: else -> seen = published; goto store
        fi
    }
end:
    atomic {
        assert(size >= high[seen]);
        seen = 0;
        pin[_pid - 2] = 0;
        goto begin
    }
}
