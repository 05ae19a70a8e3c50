/* What is live while commits are built ahead of the flush of earlier ones.
 *
 * A builder assigns pages for the next commit while a flusher writes the newest built one's meta,
 * flushes and publishes. kv forbids itself that (no page is assigned before the previous flush was
 * published), except that a transaction writes pages early; the live set is that of the general
 * case. Every page that nothing live needs is overwritten at once.
 *
 * Shown: the durable commit, to which a power cut leads back, the commit whose meta is written and
 * not yet flushed, and every pinned snapshot are whole.
 *
 * Rules that can be taken away:
 *   NO_PUBLISHED          the published commit is live
 *   PUBLISHED_AFTER_SCAN  and is looked at before the slots
 *   NO_DURABLE            so is the newest durable one
 *   NO_UNRESOLVED         and every one that is built and not resolved
 *   NO_PINS               and what readers have pinned
 */
#ifndef READERS
#define READERS 2
#endif
#ifndef VERSIONS
#define VERSIONS 6
#endif

#define BIT(version) (1 << (version))

byte built = 1, written = 1, durable = 1, published = 1;
byte pin[READERS];
byte intact = 2; /* versions whose page was not overwritten, as bits */

active proctype builder()
{
    byte live, i, v;

    do
    :: built < VERSIONS ->
           atomic {
#ifndef NO_UNRESOLVED
               v = durable + 1;
               do
               :: v <= built -> live = live | BIT(v); v++
               :: else -> break
               od;
               v = 0;
#endif
#ifndef NO_DURABLE
               live = live | BIT(durable);
#endif
#if !defined(NO_PUBLISHED) && !defined(PUBLISHED_AFTER_SCAN)
               live = live | BIT(published)
#endif
           }
#ifndef NO_PINS
           do
           :: atomic { i < READERS -> live = live | (BIT(pin[i]) & ~1); i++ }
           :: atomic { i == READERS -> i = 0; break }
           od;
#endif
#ifdef PUBLISHED_AFTER_SCAN
           live = live | BIT(published);
#endif
           skip;
           d_step {
               v = 1;
               do
               :: v < built && !(live & BIT(v)) -> intact = intact & ~BIT(v); v++
               :: v < built && (live & BIT(v)) -> v++
               :: else -> break
               od;
               v = 0; live = 0;
               built++;
               intact = intact | BIT(built);
               assert(intact & BIT(durable));
               assert(intact & BIT(written))
           }
    :: else -> break
    od
}

active proctype flusher()
{
end:
    do
    :: atomic { written < built -> written = built }
       atomic { durable = written; assert(intact & BIT(durable)) }
       published = durable
    od
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
        assert(intact & BIT(seen));
        seen = 0;
        pin[_pid - 2] = 0;
        goto begin
    }
}
