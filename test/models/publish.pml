/* Readers begin, a writer reclaims and publishes, and is killed anywhere.
 *
 * The writer's board is two records and a counter, id << 1 | record. Each version has one page that
 * the next commit drops, and every page that is free for a transaction is overwritten at once: no
 * allocator could do worse. A store may become visible late: a pin and the counter wait in store
 * buffers until memory delivers them, unless a fence waits for that.
 *
 * Readers are alike, and the scan takes their slots in any order, so their rows are kept sorted:
 * a sixth of the states.
 *
 * Shown: a snapshot that a reader accepted is whole, and its page stays until it is unpinned; no
 * reader waits for a dead writer.
 *
 * Rules that can be taken away:
 *   NO_PIN         a reader pins what it reads
 *   NO_FENCE       full fence between pin and re-check
 *   NO_RECHECK     the counter is loaded again behind the pin
 *   NO_COPY_CHECK  and again behind the copy of the record
 *   NO_ACQUIRE     that load is not done before the copy is
 *   NO_SCAN_FENCE  full fence between publication and scan
 *   NO_RELEASE     the record is visible before the counter that selects it
 *   NO_FILL_FENCE  a counter is visible before the record that it deselects is filled
 *   NO_RECORD_BIT  the record bit flips at every publication; here the id's parity selects
 *   ONE_RECORD     there are two records; here one, odd while it is filled
 *   DOUBLE_LOAD    each slot is loaded once (needs OLDEST)
 * Another form of the same: OLDEST keeps what ends behind the oldest pin, not the live set itself.
 */
#ifndef READERS
#define READERS 3
#endif
#ifndef VERSIONS
#define VERSIONS 4
#endif

#define ID(counter)  ((counter) >> 1)
#define BIT(version) (1 << (version))
#ifdef ONE_RECORD
#define RECORD(counter) 0
#else
#define RECORD(counter) ((counter) & 1)
#endif

byte counter = 2; /* version 1, record 0 */
byte coming;      /* a store to the counter that nobody sees yet; 0: none */
byte first[2] = 1, last[2] = 1; /* words of the records: the id of their version */
byte burnt = 1;        /* greatest id that may stand in a page */
byte intact = 2;       /* versions whose page was not overwritten, as bits */
byte committed = 2;    /* versions whose meta was written, as bits, from the oldest intact one on */

#define IDLE    0
#define PINNED  1
#define COPYING 2
#define COPIED  3
#define CHECKED 4
#define READING 5

typedef row {
    byte at;
    byte seen;           /* the counter that was loaded */
    byte pin;            /* the slot: a version, or 0 */
    unsigned late : 1;   /* the version of seen is stored there, but nobody sees it yet */
    unsigned whole : 1;  /* what was copied is of one version, that of seen */
    unsigned looked : 2; /* how often the scan has loaded the slot */
}
row reader[READERS];

#define RANK(r)                                                                                    \
    (reader[r].at << 13 | reader[r].seen << 8 | reader[r].pin << 4 | reader[r].late << 3 |         \
     reader[r].whole << 2 | reader[r].looked)

inline exchange(a, b)
{
    if
    :: RANK(a) > RANK(b) ->
           i = reader[a].at; reader[a].at = reader[b].at; reader[b].at = i;
           i = reader[a].seen; reader[a].seen = reader[b].seen; reader[b].seen = i;
           i = reader[a].pin; reader[a].pin = reader[b].pin; reader[b].pin = i;
           i = reader[a].late; reader[a].late = reader[b].late; reader[b].late = i;
           i = reader[a].whole; reader[a].whole = reader[b].whole; reader[b].whole = i;
           i = reader[a].looked; reader[a].looked = reader[b].looked; reader[b].looked = i
    :: else
    fi
}

inline sort()
{
    d_step {
#if READERS > 1
        exchange(0, 1);
#endif
#if READERS > 2
        exchange(1, 2);
        exchange(0, 1);
#endif
        i = 0; r = 0
    }
}

#if READERS == 1
#define LOOKED (reader[0].looked == 2)
#elif READERS == 2
#define LOOKED (reader[0].looked == 2 && reader[1].looked == 2)
#else
#define LOOKED (reader[0].looked == 2 && reader[1].looked == 2 && reader[2].looked == 2)
#endif

/* One of the readers. */
inline some()
{
    if
    :: r = 0
#if READERS > 1
    :: r = 1
#endif
#if READERS > 2
    :: r = 2
#endif
    fi
}

/* Overwrites the page of every version that nothing live sees: birth <= live < death. */
inline reclaim()
{
    d_step {
        v = 1;
        do
        :: v >= base -> break
        :: v < base && !(intact & BIT(v)) -> v++
        :: v < base && (intact & BIT(v)) ->
               death = v + 1;
               do
               :: committed & BIT(death) -> break
               :: else -> death++
               od;
               if
#ifdef OLDEST
               :: death <= live -> intact = intact & ~BIT(v)
#else
               :: !(live & (BIT(death) - BIT(v))) -> intact = intact & ~BIT(v)
#endif
               :: else
               fi;
               v++
        od;
        v = 1;
        do
        :: intact & BIT(v) -> break
        :: else -> committed = committed & ~BIT(v); v++
        od;
        v = 0;
        do
        :: v < READERS -> reader[v].looked = 0; v++
        :: else -> break
        od;
        v = 0; death = 0; live = 0; base = 0;
        sort()
    }
}

active proctype writer()
{
    byte id, base, r, i, v, death, fill;
    byte live; /* versions as bits; OLDEST: one version */
    bool successor;

turn:
    atomic {
        base = ID((coming -> coming : counter));
        if
        :: committed >> (base + 1) -> /* found behind the published one: adopted, and not lost */
               id = base + 1;
               do
               :: committed & BIT(id) -> break
               :: else -> id++
               od;
               base = 0;
               goto publish
        :: else
        fi;
        if
        :: successor -> id = base; base = 0; goto publish
        :: else
        fi;
        if
        :: burnt == VERSIONS -> goto gone
        :: else
        fi;
        burnt++;
        id = burnt;
#ifdef OLDEST
        live = base
#else
        live = BIT(base)
#endif
    }
    atomic {
#ifndef NO_SCAN_FENCE
        coming == 0 ->
#endif
        skip
    }
    do
    :: atomic {
           some();
#ifdef DOUBLE_LOAD
           if
           :: reader[r].looked == 0 && reader[r].pin != 0 && reader[r].pin < live ->
                  reader[r].looked = 1
           :: reader[r].looked == 1 -> live = reader[r].pin; reader[r].looked = 2
           :: reader[r].looked == 0 && (reader[r].pin == 0 || reader[r].pin >= live) ->
                  reader[r].looked = 2
           :: else
           fi;
#else
           if
           :: reader[r].looked == 0 ->
                  reader[r].looked = 2;
#ifdef OLDEST
                  live = (reader[r].pin != 0 && reader[r].pin < live -> reader[r].pin : live)
#else
                  live = live | (BIT(reader[r].pin) & ~1)
#endif
           :: else
           fi;
#endif
           sort()
       }
    :: atomic {
           LOOKED ->
           reclaim();
           if
           :: intact = intact | BIT(id); committed = committed | BIT(id); goto publish
           :: goto turn /* given up */
           :: goto died
           fi
       }
    od;
publish:
#ifdef ONE_RECORD
    if
    :: counter = counter | 1
    :: goto died
    fi;
#endif
    if
#ifdef NO_FILL_FENCE
    :: atomic { fill = 1 - RECORD((coming -> coming : counter)); first[fill] = id }
#else
    :: atomic {
           coming == 0 ->
#ifdef NO_RECORD_BIT
           fill = id & 1;
#else
           fill = 1 - RECORD(counter);
#endif
#ifdef ONE_RECORD
           fill = 0;
#endif
           first[fill] = id
       }
#endif
    :: goto died
    fi;
#ifdef NO_RELEASE
    coming = id << 1 | fill;
#endif
    if
    :: last[fill] = id
    :: goto died
    fi;
#ifndef NO_RELEASE
    atomic {
        coming == 0 -> /* two stores to one place keep their order */
#ifdef ONE_RECORD
        coming = id << 1;
#else
        coming = id << 1 | fill;
#endif
#else
    atomic {
#endif
        successor = false; fill = 0;
        if
        :: id = 0; goto turn
        :: goto publish /* the same version once more: it has become durable */
        :: skip
        fi
    }
died:
    atomic { /* what a dead process has stored arrives */
        if
        :: coming != 0 -> counter = coming; coming = 0
        :: else
        fi;
        id = 0; fill = 0;
        if
        :: successor = true; goto turn
        :: successor = false /* there may never be another writer */
        fi
    }
gone:
    atomic { id = 0; base = 0; live = 0 }
}

/* The counter is loaded, and its version stored into the processor's own buffer. */
inline load()
{
    reader[r].seen = counter;
#ifndef NO_PIN
    reader[r].late = 1;
#endif
    reader[r].at = PINNED
}

#define ME     reader[r]
#define SAME   (counter == ME.seen)
#define CHANGE (counter != ME.seen && !ME.late)

active proctype readers()
{
    byte r, i;

    do
    :: atomic {
           some();
           if
           /* memory delivers the store */
           :: ME.late -> ME.pin = ID(ME.seen); ME.late = 0

#ifdef ONE_RECORD
           :: ME.at == IDLE && !(counter & 1) -> load()
#else
           :: ME.at == IDLE -> load()
#endif

#ifdef NO_RECHECK
           :: ME.at == PINNED && !ME.late -> ME.at = READING
#else
#ifdef NO_FENCE
           :: ME.at == PINNED && SAME -> ME.at = COPYING
#else
           :: ME.at == PINNED && !ME.late && SAME -> ME.at = COPYING
#endif
           :: ME.at == PINNED && CHANGE -> load()
#endif

           :: ME.at == COPYING ->
                  ME.whole = (first[RECORD(ME.seen)] == ID(ME.seen));
#ifdef NO_ACQUIRE
                  ME.at = CHECKED
           :: ME.at == CHECKED && SAME -> ME.at = COPIED
           :: ME.at == CHECKED && CHANGE -> ME.whole = 0; load()
           :: ME.at == COPIED ->
                  assert(ME.whole && last[RECORD(ME.seen)] == ID(ME.seen));
                  ME.whole = 0;
                  ME.at = READING
#else
                  ME.at = COPIED
           :: ME.at == COPIED ->
                  ME.whole = ME.whole && last[RECORD(ME.seen)] == ID(ME.seen);
                  ME.at = CHECKED
#ifdef NO_COPY_CHECK
           :: ME.at == CHECKED ->
#else
           :: ME.at == CHECKED && CHANGE -> ME.whole = 0; load()
           :: ME.at == CHECKED && SAME ->
#endif
                  assert(ME.whole);
                  ME.whole = 0;
                  ME.at = READING
#endif

           /* it reads, as long as it likes */
           :: ME.at == READING && !ME.late ->
                  assert(intact & BIT(ID(ME.seen)));
                  ME.seen = 0;
                  ME.pin = 0;
                  ME.at = IDLE
           fi;
           sort()
       }
    od
}

active proctype memory()
{
end:
    do
    :: atomic { coming != 0 -> counter = coming; coming = 0 }
    od
}
