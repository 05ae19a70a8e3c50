/* Coming, leaving, and the side file's creation and removal.
 *
 * Handles come as sharers or as sole owners, leave, give up or are killed between any two steps.
 * With NAMES=2 the database has two names (a hard link), each with a side file of its own. Unless
 * YOUNG, side files lie there from an earlier life, complete and out of date, as a power cut leaves
 * them.
 *
 * Shown: all users share one side file, and it tells the truth (unless ONE_FILE); a sole owner is
 * alone; a side file is made and removed only when nobody uses it; when all have left, none stays,
 * unless somebody was killed on the way (one name; of a second name nobody can know).
 *
 * A file is true from its completion until somebody may have written to the database without it.
 *
 * Rules that can be taken away:
 *   NO_LIFECYCLE   only who holds the lifecycle byte exclusively removes
 *   NO_RESET       the first one ignores what it finds
 *   NO_MAGIC_LAST  the magic is written when all else is (needs NO_PROOF: that proves it as well)
 *   NO_PROOF       a sharer believes a side file only while somebody else holds its alias byte
 *   NO_ALIAS       users hold the alias byte of their side file, and no other's is held (needs
 *                  NO_PROOF)
 *   NO_SOLE_RESET  a sole owner removes what it finds (needs NO_PROOF)
 *   QUIET_RETREAT  who gives up leaves like anybody else: lets go, tries the byte exclusively, and
 *                  removes the side file if it gets it
 */
#ifndef HANDLES
#define HANDLES 3
#endif
#ifndef NAMES
#define NAMES 1
#endif

#define NOTHING 0
#define SHARED  1
#define ALONE   2

typedef side {
    bool there;
    bool magic;
    bool whole;  /* all of it is written */
    bool fresh;  /* true */
    bool litter; /* may stay: its owner was killed */
    byte marks;  /* holders of its alias byte */
    byte users;
}
side name[NAMES];

byte sharing; /* holders of the lifecycle byte */
bool alone;
byte soles;
byte here; /* handles that are on their way */

#if NAMES == 2
#define OTHER_MARKS (name[1 - n].marks != 0)
#define USERS       (name[0].users + name[1].users + soles)
#else
#define OTHER_MARKS false
#define USERS       (name[0].users + soles)
#endif

inline release()
{
    if
    :: held == SHARED -> sharing--
    :: held == ALONE -> alone = false
    :: else
    fi;
    held = NOTHING
}

inline unmark()
{
    if
    :: marked -> name[n].marks--; marked = false
    :: else
    fi
}

inline take_out()
{
    d_step {
        assert(USERS == 0);
        name[n].there = false; name[n].magic = false; name[n].whole = false;
        name[n].fresh = false; name[n].litter = false
    }
}

/* Whoever has nothing open any more looks around. */
inline go_home()
{
    d_step {
        here--;
        n = 0;
#if NAMES == 1
        assert(here != 0 || !name[0].there || name[0].litter)
#endif
    }
}

#define OR_DIE    :: goto killed
#define OR_FAIL   :: goto retreat
#define OR_EITHER OR_DIE OR_FAIL

proctype handle()
{
    byte n, held;
    bool marked, user, sole;

home:
end:
    atomic {
        here++;
#if NAMES == 2
        if
        :: n = 0
        :: n = 1
        fi;
#endif
        if
        :: goto come
        :: goto come_alone
        fi
    }

    /* a sharer */
come:
    atomic {
        if
        :: sharing == 0 && !alone -> alone = true; held = ALONE; goto make
        :: else
        fi
    }
    atomic {
        if
        :: !alone -> sharing++; held = SHARED
        :: alone -> goto again /* somebody is just coming or leaving */
        fi
    }
    atomic {
        if
        :: name[n].there && name[n].magic
        :: !(name[n].there && name[n].magic) -> goto retreat
        OR_DIE
        fi
    }
#ifndef NO_PROOF
    atomic {
        if
        :: name[n].marks != 0
        :: name[n].marks == 0 -> goto retreat
        OR_DIE
        fi
    }
#endif
#ifndef NO_ALIAS
    atomic {
        if
        :: name[n].marks++; marked = true
        OR_EITHER
        fi
    }
    atomic {
        if
        :: !OTHER_MARKS
        :: OTHER_MARKS -> goto retreat
        OR_EITHER
        fi
    }
#endif
    goto use;

    /* the first sharer */
make:
    if
#ifdef NO_RESET
    :: name[n].there && name[n].magic -> goto made
    :: !(name[n].there && name[n].magic) -> take_out()
#else
    :: take_out()
#endif
    OR_EITHER
    fi;
    if
    :: name[n].there = true
    OR_EITHER
    fi;
#ifdef NO_MAGIC_LAST
    name[n].magic = true;
#endif
made:
#ifndef NO_ALIAS
    atomic {
        if
        :: name[n].marks++; marked = true
        OR_EITHER
        fi
    }
#endif
#ifndef NO_RESET
    atomic {
        if
        :: name[n].whole = true; name[n].fresh = true
        OR_EITHER
        fi
    }
#else
    name[n].whole = true;
#endif
    if
    :: name[n].magic = true
    OR_EITHER
    fi;
    atomic {
        if
        :: release(); sharing++; held = SHARED
        OR_EITHER
        fi
    }

use:
    atomic {
        assert(USERS == name[n].users);
        assert(name[n].there && name[n].whole);
#ifndef ONE_FILE
        assert(name[n].fresh);
#endif
        name[n].users++; user = true;
#if NAMES == 2
        name[1 - n].fresh = false
#endif
    }
    atomic {
        if
        :: name[n].users--; user = false; unmark()
        OR_DIE
        fi
    }
    goto leave;

retreat:
#ifdef QUIET_RETREAT
    atomic { unmark(); release(); goto again }
#else
    atomic {
        unmark();
        if
        :: held == ALONE -> goto alone_at_last
        :: else
        fi
    }
#endif
leave:
    atomic {
        if
        :: release()
        OR_DIE
        fi
    }
#ifdef NO_LIFECYCLE
    goto alone_at_last;
#endif
    atomic {
        if
        :: sharing == 0 && !alone -> alone = true; held = ALONE
        :: !(sharing == 0 && !alone) -> goto again
        OR_DIE
        fi
    }
alone_at_last:
    if
    :: take_out()
    OR_DIE
    fi;
    release();
again:
    atomic {
        if
        :: goto come
        :: go_home(); goto home
        fi
    }

    /* a sole owner */
come_alone:
    atomic {
        if
        :: sharing == 0 && !alone -> alone = true; held = ALONE
        :: else -> go_home(); goto home
        fi
    }
    if
#ifdef NO_SOLE_RESET
    :: skip
#else
    :: take_out()
#endif
    :: goto retreat /* a guest is there */
    OR_DIE
    fi;
    atomic {
        assert(USERS == 0);
        soles++; sole = true;
        name[0].fresh = false;
#if NAMES == 2
        name[1].fresh = false
#endif
    }
    atomic {
        if
        :: soles--; sole = false; release(); go_home(); goto home
        OR_DIE
        fi
    }

killed:
    atomic {
        unmark();
        release();
        if
        :: user -> name[n].users--; user = false
        :: else
        fi;
        if
        :: sole -> soles--; sole = false
        :: else
        fi;
        name[n].litter = name[n].there;
        go_home();
        goto home
    }
}

init
{
    atomic {
#ifndef YOUNG
        name[0].there = true; name[0].magic = true; name[0].whole = true; name[0].litter = true;
#if NAMES == 2
        name[1].there = true; name[1].magic = true; name[1].whole = true; name[1].litter = true;
#endif
#endif
        do
        :: here < HANDLES -> run handle(); here++
        :: else -> here = 0; break
        od
    }
}
