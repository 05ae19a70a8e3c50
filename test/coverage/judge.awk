# Reads limits, the list of branches that cannot be reached, and what gcov says of each object.
# Prints a table of the files of src/ and a line per check; writes every branch that was not taken
# to the file `report`, in the form of the list. A branch is one edge: file, function, line, number.

FNR == 1 { part++ }

part == 1 { if ($1 !~ /^#/ && NF == 2) limit[$1] = $2; next }

# FILE:FUNCTION COUNT `SOURCE TEXT` REASON
part == 2 {
    if ($0 ~ /^#/ || NF == 0)
        next
    split($0, quoted, "`")
    n_listed++
    listed_where[n_listed] = $1
    listed_left[n_listed] = $2
    listed_text[n_listed] = quoted[2]
    listed_line[n_listed] = FNR
    if (quoted[3] !~ /[a-z]/)
        bad_entry("no reason", n_listed)
    next
}

function bad_entry(why, i) { wrong[++n_wrong] = "unreached.txt:" listed_line[i] ": " why }

# ---- gcov's text: a line of source follows its count, its branches follow the line ----

/^ *-: +0:Source:/ {
    file = $0
    sub(/.*Source:(\.\/)?/, "", file)
    ours = file ~ /^src\/[^\/]*$/
    sub(/^src\//, "", file)
    next
}
!ours || /^ *-: +0:/ { next }
/^function / { name = $2; next }
/^branch / {
    key = file SUBSEP line SUBSEP $2
    if (!(key in taken)) {
        order[++n_branches] = key
        taken[key] = 0
    }
    if ($3 == "taken")
        taken[key] += $4
    next
}
/^call |^unconditional |^-+$/ { next }
{
    count = $0
    sub(/:.*/, "", count)
    line = substr($0, index($0, ":") + 1)
    text = substr(line, index(line, ":") + 1)
    line += 0
    if (count ~ /-$/)
        next
    key = file SUBSEP line
    if (!(key in ran)) {
        ran[key] = 0
        lines[file]++
        source[key] = text
        owner[key] = name
    }
    sub(/^ */, "", count)
    if (count !~ /^[#=]/)
        ran[key] = 1
}

# ---- the verdict ----

function percent(part, whole) { return whole ? 100 * part / whole : 100 }

function entry_for(where, text,    i) {
    for (i = 1; i <= n_listed; i++)
        if (listed_where[i] == where && listed_left[i] > 0 && index(text, listed_text[i])) {
            listed_left[i]--
            return i
        }
    return 0
}

function row(name, got, all, taken_here, total, excused) {
    printf "%-20s %6d of %5d  %5.1f %%   %6d of %5d  %5.1f %%   %4d\n", name, got, all, \
        percent(got, all), taken_here, total, percent(taken_here, total), excused
}

function check(what, value, good, bound) {
    printf "%-5s %s: %.2f %% (%s)\n", good ? "ok" : "FAIL", what, value, bound
    if (good)
        passed++
    else
        failed++
}

END {
    for (key in ran) {
        split(key, k, SUBSEP)
        lines_ran[k[1]] += ran[key]
        exists[k[1] ":" owner[key]] = exists[k[1] ":" owner[key]] "\n" source[key]
    }
    for (i = 1; i <= n_listed; i++)
        if (!index(exists[listed_where[i]], listed_text[i]))
            bad_entry("no such line in " listed_where[i], i)
    for (i = 1; i <= n_branches; i++) {
        split(order[i], k, SUBSEP)
        file = k[1]
        total[file]++
        at = file SUBSEP k[2]
        if (taken[order[i]]) {
            got[file]++
            continue
        }
        if (entry_for(file ":" owner[at], source[at])) {
            excused[file]++
            continue
        }
        if (!(at in missed))
            missed_at[++n_missed] = at
        missed[at]++
    }
    printf "" >report
    for (i = 1; i <= n_missed; i++) {
        at = missed_at[i]
        split(at, k, SUBSEP)
        text = source[at]
        sub(/^ */, "", text)
        printf "%s:%s %d `%s` line %d\n", k[1], owner[at], missed[at], text, k[2] >report
    }

    print "file                            lines                     branches        listed"
    for (file in lines) {
        n_files++
        files[n_files] = file
    }
    for (i = 2; i <= n_files; i++)
        for (j = i; j > 1 && files[j - 1] > files[j]; j--) {
            t = files[j]; files[j] = files[j - 1]; files[j - 1] = t
        }
    for (i = 1; i <= n_files; i++) {
        file = files[i]
        row(file, lines_ran[file], lines[file], got[file], total[file], excused[file])
        sum_ran += lines_ran[file]
        sum_lines += lines[file]
        sum_got += got[file]
        sum += total[file]
        sum_excused += excused[file]
    }
    row("engine", sum_ran, sum_lines, sum_got, sum, sum_excused)
    print ""
    for (i = 1; i <= n_wrong; i++)
        print "FAIL  " wrong[i]
    failed += n_wrong
    t = percent(sum_got, sum)
    check("branches taken", t, t >= limit["taken_least"], "at least " limit["taken_least"])
    t = percent(sum_excused, sum)
    check("branches listed", t, t <= limit["listed_most"], "at most " limit["listed_most"])
    t = percent(sum - sum_got - sum_excused, sum)
    check("neither", t, t <= limit["unlisted_most"], "at most " limit["unlisted_most"])
    if (sum > sum_got + sum_excused)
        print "      see " report
    printf "%d passed, %d failed\n", passed, failed
    exit failed > 0
}
