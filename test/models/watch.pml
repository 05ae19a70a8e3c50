/* Who waits for a commit sleeps on a word; the writer wakes nobody unless somebody said that he waits.
 *
 * Writers publish and are killed anywhere, the next one goes on. The kernel compares the word and puts
 * to sleep in one step. Somebody asleep may look again without being woken only if a writer died: the
 * time that this takes is the price of a death, and of nothing else.
 *
 * Shown: everybody sees the last commit, nobody sleeps for ever.
 *
 * Rules that can be taken away:
 *   NO_AWAITED   who waits says so
 *   NO_LOOK      and looks at the counter behind that
 *   LISTEN_LATE  the word is loaded before that look
 *   NO_FENCE     the writer asks who waits behind the store of the counter
 *   NO_CHANGE    the word changes before the waiting are woken
 *   TAKE_LATE    what they said is taken back before the word changes
 *   NO_RECHECK   nobody sleeps for ever
 */
#ifndef WAITERS
#define WAITERS 2
#endif
#ifndef VERSIONS
#define VERSIONS 4
#endif
#ifndef DEATHS
#define DEATHS 1
#endif

byte counter = 1, news, deaths;
bool awaited, asleep[WAITERS];

#define OR_DIE :: deaths < DEATHS -> deaths++; goto publish

inline store_counter()
{
    if
    :: counter++
    OR_DIE
    fi
}

inline ask()
{
    if
    :: told = awaited
    OR_DIE
    fi
}

inline take_back()
{
    if
    :: awaited = false
    OR_DIE
    fi
}

inline change()
{
    if
    :: news++
    OR_DIE
    fi
}

inline wake()
{
    if
    :: atomic {
           sleeper = 0;
           do
           :: sleeper < WAITERS -> asleep[sleeper] = false; sleeper++
           :: else -> break
           od
       }
    OR_DIE
    fi
}

active proctype writer()
{
    bool told;
    byte sleeper;

publish:
    atomic {
        told = false;
        sleeper = 0;
        if
        :: counter == VERSIONS -> goto done
        :: else
        fi
    }
#ifdef NO_FENCE
    ask();
    store_counter();
#else
    store_counter();
    ask();
#endif
    if
    :: told ->
#ifdef TAKE_LATE
           change();
           wake();
           take_back()
#else
           take_back();
#ifndef NO_CHANGE
           change();
#endif
           wake()
#endif
    :: else
    fi;
    goto publish;
done:
}

active [WAITERS] proctype waiter()
{
    byte since = 1, heard;

look:
    since = counter;
    if
    :: since == VERSIONS -> goto done
    :: else
    fi;
#ifndef LISTEN_LATE
    heard = news;
#endif
#ifndef NO_AWAITED
    awaited = true;
#endif
#ifndef NO_LOOK
    if
    :: counter != since -> goto look
    :: else
    fi;
#endif
#ifdef LISTEN_LATE
    heard = news;
#endif
    atomic {
        if
        :: news == heard -> asleep[_pid - 1] = true
        :: else -> goto look
        fi
    }
    if
    :: !asleep[_pid - 1]
#ifndef NO_RECHECK
    :: atomic { deaths > 0 -> asleep[_pid - 1] = false }
#endif
    fi;
    goto look;
done:
}
