/* Named snapshots: what keeps their pages, with lazy commits, power cuts and readers that open them.
 *
 * Each version has one page, which the next one drops. A version lists at most one snapshot: an older
 * version. A snapshot is made by a strict commit, of the version that it builds on, and dropped by a
 * commit of any kind. Whenever a transaction begins, every page that nothing live needs is
 * overwritten. A version that is written and not yet flushed, or lazy, may be found after a power cut
 * or not; then the durable one is. Recovery visits pages younger than the last-durable version that
 * the found meta names, and must meet those that its seal counted: none that was dropped.
 *
 * That the newest version's list counts as well needs no rule: it lists nothing that the durable one
 * does not, since a version that makes a snapshot is durable at once.
 *
 * Shown: what a power cut leads back to is whole, with the snapshot that it lists; no version that
 * was acknowledged is rejected; who has opened a snapshot can read it.
 *
 * Rules that can be taken away:
 *   NO_LIST     the snapshot that the durable version lists is live, though it may be dropped since
 *   NO_STRICT   a snapshot is made by a strict commit
 *   OTHER_BASE  and is of the version that this builds on, not of an older one
 *   NO_PIN      opening a snapshot pins it
 *   NO_RECHECK  and then looks again whether it is listed
 *   NO_SCAN     a writer looks for pins
 */
#ifndef READERS
#define READERS 1
#endif
#ifndef VERSIONS
#define VERSIONS 7
#endif

#define BIT(version) (1 << (version))

byte newest = 1, durable = 1, published = 1;
byte lists[VERSIONS + 1]; /* by version: the snapshot; 0: none */
byte last[VERSIONS + 1];  /* by version: the last-durable one that its meta names */
byte pin[READERS];
short intact = 2;         /* versions whose page was not overwritten, as bits */

#define WHOLE(version)    (intact & BIT(version) && (!lists[version] || intact & BIT(lists[version])))
#define ACCEPTED(version) (lists[version] <= last[version])

active proctype writer()
{
    short live;
    byte i, listed;
    bool strict, lazy;

    last[1] = 1;
    do
    :: newest < VERSIONS ->
           atomic {
               live = BIT(durable) | BIT(newest);
#ifndef NO_LIST
               live = live | (BIT(lists[durable]) & ~1);
#endif
               skip
           }
#ifndef NO_SCAN
           do
           :: atomic { i < READERS -> live = live | (BIT(pin[i]) & ~1); i++ }
           :: atomic { i == READERS -> i = 0; break }
           od;
#endif
           skip;
           d_step {
               i = 1;
               do
               :: i < newest && !(live & BIT(i)) -> intact = intact & ~BIT(i); i++
               :: i < newest && (live & BIT(i)) -> i++
               :: else -> break
               od;
               i = 0; live = 0
           }
           atomic {
               listed = lists[newest];
               strict = false;
               if
               :: lazy = true
               :: lazy = false
               fi;
               if
               :: listed == 0 ->
#ifdef OTHER_BASE
                      listed = newest - (newest > 1);
#else
                      listed = newest;
#endif
#ifndef NO_STRICT
                      strict = true; lazy = false;
#endif
                      skip
               :: listed != 0 -> listed = 0
               :: true
               fi;
               newest++;
               intact = intact | BIT(newest);
               lists[newest] = listed;
               last[newest] = (strict -> newest : durable);
               listed = 0
           }
           /* written; a power cut may find it or not */
           if
           :: !lazy -> durable = newest
           :: lazy
           fi;
           published = newest
    :: newest < VERSIONS && durable < newest -> durable = newest /* a flush between commits */
    :: newest == VERSIONS -> break
    od
}

/* A power cut, at any moment. */
active proctype crash()
{
    atomic {
        assert(WHOLE(durable));
        assert(ACCEPTED(durable));
        assert(WHOLE(newest) || !ACCEPTED(newest))
    }
}

active [READERS] proctype reader()
{
    byte seen;

begin:
    seen = lists[published];
    if
    :: seen != 0
    :: else -> goto begin
    fi;
#ifndef NO_PIN
    pin[_pid - 2] = seen;
#endif
#ifndef NO_RECHECK
    if
    :: lists[published] == seen
    :: else -> goto end
    fi;
#endif
    atomic { skip }
    assert(intact & BIT(seen));
end:
    atomic {
        pin[_pid - 2] = 0;
        seen = 0;
        goto begin
    }
}
