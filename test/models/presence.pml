/* Slots of the dead: claimed and cleared while their owners die, stop, and come back.
 *
 * Handles take a presence number, claim slots, pin, read and leave, and are killed anywhere; being
 * stopped is being slow. Numbers are few, so that they are soon used again. Reapers, who are in
 * the way of somebody's pin, clear the slots of the dead, and are killed too.
 *
 * Shown: no pin of a living handle is cleared, stopped or not; no slot has two owners; who cleared
 * the slots of a number has cleared all of them; a new handle has none from its predecessor.
 *
 * Rules that can be taken away:
 *   NO_PRESENCE_PROOF  death is proved by the presence byte
 *   PROBE_ONLY         the byte is held while slots are cleared, not only looked at
 *   NO_RELOAD          the owner is looked at again under the byte
 *   OWNER_FIRST        the pin is cleared before the owner
 *   NO_INIT_CLEAR      a new handle clears what bears its number
 *   NO_CAS             slots are claimed by compare-and-swap
 */
#ifndef HANDLES
#define HANDLES 3
#endif
#ifndef REAPERS
#define REAPERS 2
#endif
#define NUMBERS 2
#define SLOTS   2

bool present[NUMBERS + 1]; /* the byte of a number is held */
byte owner[SLOTS];         /* a number; 0: nobody */
byte pin[SLOTS];           /* whose it is; 0: none */

#define OR_DIE :: goto killed

/* No slot bears the number. */
inline none_left(number)
{
    d_step {
        assert(owner[0] != number && owner[1] != number)
    }
}

proctype handle(byte me)
{
    byte n, s;

appear:
end:
    atomic {
        if
        :: !present[1] -> n = 1
        :: !present[2] -> n = 2
        fi;
        present[n] = true
    }
#ifndef NO_INIT_CLEAR
    do
    :: atomic { s < SLOTS && owner[s] != n -> s++ }
    :: s < SLOTS && owner[s] == n ->
           if
           :: pin[s] = 0
           OR_DIE
           fi;
           atomic { owner[s] = (owner[s] == n -> 0 : owner[s]); s++ }
    :: atomic { s == SLOTS -> s = 0; break }
    OR_DIE
    od;
#endif
    none_left(n);
idle:
    if
#ifdef NO_CAS
    :: owner[0] == 0 -> s = 0; owner[0] = n
    :: owner[1] == 0 -> s = 1; owner[1] = n
#else
    :: atomic { owner[0] == 0 -> s = 0; owner[0] = n }
    :: atomic { owner[1] == 0 -> s = 1; owner[1] = n }
#endif
    :: atomic { present[n] = false; n = 0; s = 0; goto appear }
    OR_DIE
    fi;
    if
    :: pin[s] = me
    OR_DIE
    fi;
    /* it reads, or is stopped for a while */
    if
    :: atomic { assert(pin[s] == me && owner[s] == n); pin[s] = 0 }
    OR_DIE
    fi;
    if
    :: atomic { assert(owner[s] == n); owner[s] = 0; s = 0; goto idle }
    OR_DIE
    fi;
killed:
    atomic {
        present[n] = false; n = 0; s = 0;
        goto appear
    }
}

proctype reaper()
{
    byte s, t, number;
    bool held;

look:
end:
    atomic {
        if
        :: s = 0
        :: s = 1
        fi;
        number = owner[s];
        number != 0 /* a pin in our way */
    }
#ifdef NO_PRESENCE_PROOF
    skip;
#elif defined(PROBE_ONLY)
    atomic {
        if
        :: !present[number]
        :: present[number] -> goto done
        fi
    }
#else
    atomic {
        if
        :: !present[number] -> present[number] = true; held = true
        :: present[number] -> goto done /* it lives */
        fi
    }
#endif
#ifdef NO_RELOAD
    pin[s] = 0;
    owner[s] = 0;
#else
    do
    :: atomic { t < SLOTS && owner[t] != number -> t++ }
    :: t < SLOTS && owner[t] == number ->
#ifdef OWNER_FIRST
           atomic { owner[t] = (owner[t] == number -> 0 : owner[t]) }
           atomic { pin[t] = 0; t++ }
#else
           if
           :: pin[t] = 0
           OR_DIE
           fi;
           atomic { owner[t] = (owner[t] == number -> 0 : owner[t]); t++ }
#endif
    :: atomic { t == SLOTS -> t = 0; break }
    OR_DIE
    od;
    none_left(number);
#endif
done:
killed:
    atomic {
        if
        :: held -> present[number] = false; held = false
        :: else
        fi;
        number = 0; s = 0; t = 0;
        goto look
    }
}

init
{
    byte i;
    atomic {
        do
        :: i < HANDLES -> i++; run handle(i)
        :: else -> break
        od;
        i = 0;
        do
        :: i < REAPERS -> i++; run reaper()
        :: else -> break
        od
    }
}
