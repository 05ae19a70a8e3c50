/* A writer is killed anywhere in a commit; its successor takes over; the power may fail.
 *
 * What is written lies in the page cache, which outlives processes, and comes to the disk by
 * write-back or by a flush. A flush may fail: then the kernel believes clean what never arrived,
 * and a later flush succeeds. A power cut keeps any part of what is dirty, metas torn; then
 * recovery chooses. A block written again with the bytes that it holds stays what it is. Each
 * commit writes one page of its own and builds on those before.
 *
 * Shown: a commit published as durable is found again, with every page that it builds on; some
 * commit always is; no id stands in two pages; a commit that a guest may have seen through the metas
 * is never given up by a successor, whose flush may fail.
 *
 * Rules that can be taken away:
 *   NO_TAKEOVER   the marks of a dead writer make the next one look for its commit
 *   TRUST_NEWEST  a commit found is not durable because it is the newest
 *   FLUSH_ONLY    it is written again before it is flushed
 *   FLUSH_AGAIN   a flush that failed is not repeated
 *   NO_BURN       an id that may stand in a page is burnt
 *   SAME_SLOT     the durable commit's slot is never written
 *   UNSEEN        a commit is shown also when the flush that is to adopt it fails
 */
#ifndef VERSIONS
#define VERSIONS 5
#endif

#define BIT(id)   (1 << (id))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

/* Page cache and disk. */
byte slot[2] = 1;          /* ids; 0: torn or cleared */
bool slot_dirty[2];
byte disk_slot[2] = 1;
byte dirty, disk = 2;      /* pages, as bits */
byte written = 2;          /* ids that stand in a page, as bits */
byte before[VERSIONS + 1] = 1; /* what a commit names as durable */
byte needs[VERSIONS + 1] = 2;  /* pages that it is made of, as bits */
bool off;

/* Side file. */
byte published = 1, proven = 1, burnt = 1;
bool writing, begun, failed;

byte seen = 1; /* by a guest */

#define OR_DIE :: goto killed

/* What is dirty goes to the disk, or is lost in part. */
inline fsync()
{
    if
    :: !off && begun -> /* another process left it so; ours tells no more */
    :: !off && !begun -> begun = true
    OR_DIE
    fi;
    if
    :: atomic {
           !off ->
           disk = disk | dirty;
           dirty = 0;
           disk_slot[0] = (slot_dirty[0] -> slot[0] : disk_slot[0]);
           disk_slot[1] = (slot_dirty[1] -> slot[1] : disk_slot[1]);
           slot_dirty[0] = false;
           slot_dirty[1] = false
       }
    :: atomic {
           !off ->
           dirty = 0;
           slot_dirty[0] = false;
           slot_dirty[1] = false;
#ifndef FLUSH_AGAIN
           if
           :: failed = true
           :: goto killed /* before it could say so */
           fi
#endif
       }
    OR_DIE
    fi;
    begun = false
}

inline keeps_seen()
{
    assert(published >= seen && (needs[published] & BIT(seen)))
}

active proctype writer()
{
    byte base, durable_slot, id, into;

take:
    atomic {
        if
        :: off || failed || burnt == VERSIONS -> goto out
        :: else
        fi;
        base = published;
        durable_slot = (slot[0] == base -> 0 : 1);
#ifndef NO_TAKEOVER
        if
        :: (writing || begun) &&
           !(slot[0] && slot[1] && slot[0] <= published && slot[1] <= published) ->
               durable_slot = (slot[0] > slot[1] -> 0 : 1);
               base = slot[durable_slot];
               goto adopt
        :: else -> writing = false
        fi
#endif
    }
    goto commit;

adopt:
#ifndef TRUST_NEWEST
#ifndef FLUSH_ONLY
    if
    :: atomic { !off -> dirty = dirty | BIT(base) }
    OR_DIE
    fi;
    if
    :: atomic {
           !off && slot[1 - durable_slot] == 0 -> slot_dirty[1 - durable_slot] = true
       }
    :: !off && slot[1 - durable_slot] != 0
    OR_DIE
    fi;
    if
    :: atomic { !off -> slot_dirty[durable_slot] = true }
    OR_DIE
    fi;
#endif
    fsync();
    if
    :: failed -> goto doubted
    :: else
    fi;
#endif
    atomic {
        if
        :: !off -> published = base; proven = base
        OR_DIE
        fi;
        writing = false;
        keeps_seen()
    }

commit:
    atomic {
#ifdef NO_BURN
        id = base + 1;
#else
        id = MAX(base, burnt) + 1;
#endif
        if
        :: id > VERSIONS -> goto out
        :: else
        fi;
        if
        :: !off -> burnt = MAX(burnt, id); writing = true
        OR_DIE
        fi
    }
    if
    :: atomic {
           !off ->
           assert(!(written & BIT(id)));
           written = written | BIT(id);
           dirty = dirty | BIT(id)
       }
    OR_DIE
    fi;
    atomic {
#ifdef SAME_SLOT
        into = durable_slot;
#else
        into = 1 - durable_slot;
#endif
        if
        :: !off -> slot[into] = 0; slot_dirty[into] = true
        OR_DIE
        fi
    }
    if
    :: atomic {
           !off ->
           slot[into] = id;
           slot_dirty[into] = true;
           before[id] = base;
           needs[id] = needs[base] | BIT(id)
       }
    OR_DIE
    fi;
    fsync();
    if
    :: failed -> goto out
    :: else
    fi;
    if
    :: atomic { !off -> published = id; proven = id; keeps_seen() }
    OR_DIE
    fi;
    writing = false;
    goto out;

doubted:
    atomic {
        if
        :: !off ->
#ifndef UNSEEN
               published = base;
#endif
               keeps_seen()
        OR_DIE
        fi
    }
killed:
out:
    atomic {
        base = 0; durable_slot = 0; id = 0; into = 0;
        if
        :: off || failed || burnt == VERSIONS
        :: else -> goto take
        fi
    }
}

active proctype kernel()
{
end:
    do
    :: atomic { !off && slot_dirty[0] -> disk_slot[0] = slot[0]; slot_dirty[0] = false }
    :: atomic { !off && slot_dirty[1] -> disk_slot[1] = slot[1]; slot_dirty[1] = false }
    :: atomic { !off && dirty -> disk = disk | dirty; dirty = 0 }
    od
}

active proctype guest()
{
end:
    do
    :: atomic { !off && MAX(slot[0], slot[1]) > seen -> seen = MAX(slot[0], slot[1]) }
    od
}

inline cut(s)
{
    if
    :: slot_dirty[s] -> disk_slot[s] = slot[s]
    :: slot_dirty[s] && disk_slot[s] != slot[s] -> disk_slot[s] = 0
    :: true
    fi
}

active proctype power()
{
    byte newest, chosen;

    atomic {
        off = true;
        cut(0);
        cut(1);
        if
        :: disk = disk | dirty
        :: skip
        fi;
        newest = (disk_slot[0] > disk_slot[1] -> 0 : 1);
        chosen = disk_slot[newest];
        assert(chosen != 0);
        if
        :: !(disk & BIT(chosen)) -> /* the walk misses it */
               assert(disk_slot[1 - newest] == before[chosen]);
               chosen = before[chosen]
        :: else
        fi;
        assert(chosen >= proven);
        assert(!(needs[chosen] & ~disk))
    }
}
