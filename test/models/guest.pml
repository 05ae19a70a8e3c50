/* Guests read without the side file: a guest pins by a lock whose byte is the commit's id.
 *
 * The writer commits into the slot that does not hold its durable commit, and overwrites at once
 * all pages that nothing live needs. A torn slot is one that is being written. At the beginning the
 * newest meta may be one whose pages did not survive a power cut.
 *
 * Shown: the snapshot that a guest accepted is whole and stays so until it lets go.
 *
 * Rules that can be taken away:
 *   NO_PIN            a guest locks the id
 *   NO_REREAD         and reads the metas again behind the lock
 *   NO_ORDER          the newest one's slot last: a torn slot twice is not the same meta twice
 *   CHOOSE_DURABLE    it takes the newest whole commit, never the one that is named as durable
 *   NO_SECOND_REREAD  falling back on the older commit, it does both again for that one
 *   PROBE_EARLY       the writer looks for locks when its last commit is published, not before
 */
#ifndef GUESTS
#define GUESTS 2
#endif
#ifndef VERSIONS
#define VERSIONS 6
#endif

#define BIT(version) (1 << (version))
#define MAX(a, b)    ((a) > (b) -> (a) : (b))

byte slot[2];    /* the metas: versions; 0: torn or cleared */
byte durable[2]; /* what they name as durable */
byte locks[VERSIONS + 1];
byte intact;     /* versions whose page is there, as bits */
byte committed;  /* versions in the order of their ids, as bits */

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
               :: !(live & (BIT(death) - BIT(v))) -> intact = intact & ~BIT(v)
               :: else
               fi;
               v++
        od;
        v = 0; death = 0; live = 0
    }
}

/* The locked versions join the live set. */
inline probe()
{
    v = 1;
    do
    :: atomic { v <= VERSIONS -> live = live | (locks[v] -> BIT(v) : 0); v++ }
    :: atomic { v > VERSIONS -> v = 0; break }
    od
}

proctype writer()
{
    byte base = 1, id, v, death, live, into;

    /* opening: a commit that is not whole is given up, its meta cleared */
    atomic {
        into = 1;
        id = slot[1];
        if
        :: slot[1] > 1 -> slot[1] = 0
        :: else
        fi
    }
    do
    :: id < VERSIONS ->
           id++;
#ifndef PROBE_EARLY
           probe();
#endif
           live = live | BIT(base);
           reclaim();
#ifdef PROBE_EARLY
           probe();
#endif
           atomic { slot[into] = 0; intact = intact | BIT(id); committed = committed | BIT(id) }
           atomic { slot[into] = id; durable[into] = base }
           atomic { base = id; into = 1 - into } /* flushed and published */
    :: else -> break
    od
}

#define WHOLE(v) (intact & BIT(v))

/* Both metas again; s is the slot of the one that is locked. */
inline reread()
{
#ifdef NO_ORDER
    s = 1;
#else
    s = (a == newest -> 0 : 1);
#endif
    if
    :: slot[1 - s] == (s -> a : b)
    :: slot[1 - s] != (s -> a : b) -> goto again
    fi;
    if
    :: slot[s] == (s -> b : a)
    :: slot[s] != (s -> b : a) -> goto again
    fi
}

proctype guest()
{
    byte a, b, s, newest, mine;

begin:
    a = slot[0];
    b = slot[1];
    if
    :: a == 0 && b == 0 -> goto begin
    :: else
    fi;
    newest = MAX(a, b);
#ifndef NO_PIN
    locks[newest]++;
#endif
#ifndef NO_REREAD
    reread();
#endif
#ifdef CHOOSE_DURABLE
    atomic {
        mine = (newest == a -> durable[0] : durable[1]);
        if
        :: mine != a && mine != b -> goto again
        :: else
        fi;
        locks[mine]++; locks[newest]--;
        goto use
    }
#endif
    atomic { /* the walk: the page is locked, and will not change */
        if
        :: a == b || WHOLE(newest) -> mine = newest; goto use
        :: !(a == b || WHOLE(newest)) -> mine = (a < b -> a : b)
        fi;
        assert(mine != 0)
    }
    locks[newest]--;
    newest = mine;
    locks[newest]++;
#ifndef NO_SECOND_REREAD
    reread();
#endif
use:
    atomic {
        assert(WHOLE(mine));
#ifndef NO_PIN
        locks[mine]--;
#endif
        goto over
    }
again:
    locks[newest]--;
over:
    atomic { a = 0; b = 0; s = 0; newest = 0; mine = 0; goto begin }
}

init
{
    byte i;
    atomic {
        slot[0] = 1;
        intact = BIT(1);
        committed = BIT(1);
        durable[0] = 1;
        durable[1] = 1;
        if
        :: slot[1] = 1
        :: slot[1] = 2
        fi;
        run writer();
        do
        :: i < GUESTS -> i++; run guest()
        :: else -> break
        od
    }
}
