# tables.awk - a table of docs/performance.md from the suite's JSON lines (test/bench/report).

function field(name,    text)
{
    if (!match($0, "\"" name "\":(\"[^\"]*\"|[^,}]*)"))
        return ""
    text = substr($0, RSTART + length(name) + 3, RLENGTH - length(name) - 3)
    gsub(/"/, "", text)
    return text
}

# Of list[1..n].
function median(list, n,    i, j, x)
{
    for (i = 2; i <= n; i++) {
        x = list[i]
        for (j = i - 1; j > 0 && list[j] > x; j--)
            list[j + 1] = list[j]
        list[j + 1] = x
    }
    return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
}

function has(keys, case_, engine)
{
    return rounds[keys, case_, engine] > 0 && value[keys, case_, engine, 1] != "null"
}

function middle(keys, case_, engine,    i, list)
{
    for (i = 1; i <= rounds[keys, case_, engine]; i++)
        list[i] = value[keys, case_, engine, i] + 0
    return median(list, i - 1)
}

# How many times better one engine is in one case than the other in another, round by round. Sets least
# and most.
function ratio_of(keys, case_, one, beside, other,    i, list, a, b)
{
    for (i = 1; i <= rounds[keys, case_, one] && i <= rounds[keys, beside, other]; i++) {
        a = value[keys, case_, one, i]
        b = value[keys, beside, other, i]
        list[i] = less[case_] ? b / a : a / b
        least = i == 1 || list[i] < least ? list[i] : least
        most = i == 1 || list[i] > most ? list[i] : most
    }
    return median(list, i - 1)
}

function ratio(keys, case_, one, other)
{
    return ratio_of(keys, case_, one, case_, other)
}

# The median of the rounds, and how far they lie apart.
function spread(x, n)
{
    return n > 1 ? sprintf("%.2f, %.2f-%.2f", x, least, most) : sprintf("%.2f", x)
}

function amount(x)
{
    if (x >= 999.5e3)
        return sprintf(x >= 999.5e6 ? "%.0f M" : "%.3g M", x / 1e6)
    if (x >= 9999.5)
        return sprintf("%.3g k", x / 1e3)
    return sprintf(x >= 999.5 ? "%.0f" : "%.3g", x)
}

function print_note()
{
    if (load < 1) {
        print "Little else ran when it began: fewer than one process at a time, on average of a minute."
        return
    }
    print "**Other work ran beside it** and shared its processors and its disk: the load in the last line"
    print "was there before it began. So take the ratios as what they are, right about who is ahead and by"
    print "what order, uncertain by some tenths, and by more where the disk is waited for. A run with the"
    print "machine for itself and the full size is one command away."
}

# n/a: it cannot do that. Nothing: it was not measured.
function cell(case_, engine)
{
    if (!has("random", case_, engine))
        return rounds["random", case_, engine] > 0 ? "n/a" : ""
    if (engine == "kv")
        return "**" amount(middle("random", case_, engine)) "**"
    return sprintf("%s (%s)", amount(middle("random", case_, engine)),
        spread(ratio("random", case_, "kv", engine), rounds["random", case_, engine]))
}

function head(first, names, n,    i, line)
{
    printf "| %s |", first
    line = "|---|"
    for (i = 1; i <= n; i++) {
        printf " %s |", names[i]
        line = line "--:|"
    }
    printf "\n%s\n", line
}

function print_speed(    c, e)
{
    head("case", engine_name, engines)
    for (c = 1; c <= cases; c++) {
        if (!has("random", case_name[c], "kv"))
            continue
        printf "| %s, %s%s |", case_name[c], unit[case_name[c]],
            (("random", case_name[c]) in by_processor) ? " of processor time" : ""
        for (e = 1; e <= engines; e++)
            printf " %s |", cell(case_name[c], engine_name[e])
        printf "\n"
    }
}

# Was the case measured with other keys than those of the first table?
function by_keys(case_,    k)
{
    for (k = 1; k <= kinds; k++)
        if (kind_name[k] != "random" && has(kind_name[k], case_, "kv") && has(kind_name[k], case_, "lmdb"))
            return 1
    return 0
}

# kv to LMDB, by kind of key.
function print_keys(    c, k)
{
    head("case", kind_name, kinds)
    for (c = 1; c <= cases; c++) {
        if (!by_keys(case_name[c]))
            continue
        printf "| %s |", case_name[c]
        for (k = 1; k <= kinds; k++)
            if (has(kind_name[k], case_name[c], "lmdb"))
                printf " %s |", spread(ratio(kind_name[k], case_name[c], "kv", "lmdb"),
                    rounds[kind_name[k], case_name[c], "lmdb"])
            else
                printf " |"
        printf "\n"
    }
}

# What is wished to be small: sizes, and growth, which is no ratio of two engines.
function at_most(part)
{
    return part[2] == "growth" || part[3] ~ /^size-/
}

# Two cells: what was measured, and whether a line of targets is fulfilled by it. Nothing: it was not
# measured with these keys.
function verdict(part, keys,    x, text)
{
    if (keys == "growth") {
        if (!(part[3] in closed_to_live))
            return " | |"
        x = closed_to_live[part[3]]
        text = sprintf("%.3f", x)
    } else {
        if (!has(keys, part[3], "kv") || !has(keys, part[4], part[5]))
            return " | |"
        if (((keys, part[3]) in by_processor) != ((keys, part[4]) in by_processor))
            return " two clocks | |"
        x = ratio_of(keys, part[3], "kv", part[4], part[5])
        if (at_most(part)) {
            x = 1 / x
            text = sprintf("%.3f", x)
        } else {
            text = spread(x, rounds[keys, part[3], "kv"])
        }
    }
    return sprintf(" %s | %s |", text,
        (at_most(part) ? x <= part[6] + 0 : x >= part[6] + 0) ? "reached" : "**missed**")
}

# A line of test/bench/targets. Those of random keys are looked at in both sizes.
function print_target(line,    part)
{
    split(line, part, / *\| */)
    printf "| %s | %s%s |%s%s\n", part[1], at_most(part) ? "at most " : "", part[6], verdict(part, part[2]),
        part[2] == "random" ? verdict(part, "random24") : " | |"
}

function print_targets(    line)
{
    printf "| what | wanted | %s records | | %s of 24 + 150 bytes | |\n", amount(records), amount(5 * records)
    print "|---|--:|--:|---|--:|---|"
    while ((getline line < targets) > 0)
        if (line !~ /^#/ && line != "")
            print_target(line)
}

# Bytes that the device was given for one operation.
function print_device(    c, e, name, i, list)
{
    if (!counted) {
        print "Not counted in this run: other work wrote to the device (`QUIET=1 make bench-all` counts)."
        return
    }
    head("case", engine_name, engines)
    for (c = 1; c <= cases; c++) {
        name = case_name[c]
        if (name !~ /^(load-|batches-|commit|overwrite|delete|retain|compact|ycsb-|crud)/)
            continue
        printf "| %s |", name
        for (e = 1; e <= engines; e++) {
            if (!has("random", name, engine_name[e])) {
                printf " %s |", (rounds["random", name, engine_name[e]] > 0 ? "n/a" : "")
                continue
            }
            for (i = 1; i <= rounds["random", name, engine_name[e]]; i++)
                list[i] = device["random", name, engine_name[e], i] + 0
            printf " %s |", amount(median(list, i - 1))
        }
        printf "\n"
    }
}

# For gnuplot: a row for each case, a column for each engine, speeds divided by LMDB's.
function print_chart(    list, n, c, e)
{
    n = split(chosen, list, " ")
    printf "case"
    for (e = 1; e <= engines; e++)
        printf " %s", engine_name[e]
    printf "\n"
    for (c = 1; c <= n; c++) {
        printf "%s", list[c]
        for (e = 1; e <= engines; e++)
            if (has("random", list[c], engine_name[e]))
                printf " %.4f", ratio("random", list[c], engine_name[e], "lmdb")
            else
                printf " -"
        printf "\n"
    }
}


/"mode":"machine"/ && want == "machine" { machine = machine "    " field("text") "\n" }

/"mode":"machine"/ && /"records / {
    records = field("text")
    sub(/^records */, "", records)
    records += 0
}

/"mode":"machine"/ && / at load / {
    load = field("text")
    sub(/.* at load /, "", load)
}

/"mode":"growth"/ {
    growth = growth sprintf("| %s | %s | %.1f | %.1f | %.1f | %.2f | %.1f | %.2f | %s |\n",
        field("engine"), field("readers"), field("raw") / 1e6, field("live") / 1e6,
        field("peak") / 1e6, field("peak_to_live"), field("closed") / 1e6, field("closed_to_live"),
        amount(field("overwrites_per_s") + 0))
    if (field("engine") == "kv")
        closed_to_live[field("readers")] = field("closed_to_live") + 0
}

/"mode":"sharing"/ {
    sharing = sharing sprintf("| %s | %s | %.0f | %.0f | %s |\n", field("engine"), field("processes"),
        field("begin_ns"), field("begin_two_threads_ns"), field("lazy_commit_us"))
}

/"mode":"compare"/ {
    keys = field("keys")
    name = field("case")
    engine = field("engine")
    round = field("round")
    # Processor time, where there is some, counts instead of the clock's.
    if (field("clock") == "processor")
        by_processor[keys, name] = 1
    else if ((keys, name) in by_processor)
        next
    if (!(name in unit))
        case_name[++cases] = name
    unit[name] = field("unit")
    less[name] = unit[name] == "us" || unit[name] == "x raw"
    if (!(engine in seen_engine)) {
        seen_engine[engine] = 1
        engine_name[++engines] = engine
    }
    if (!(keys in seen_kind)) {
        seen_kind[keys] = 1
        kind_name[++kinds] = keys
    }
    value[keys, name, engine, round] = field("value")
    if (field("operations") > 0 && field("device_bytes") != "null") {
        counted = 1
        device[keys, name, engine, round] = field("device_bytes") / field("operations")
    }
    rounds[keys, name, engine] = round + 0
}

END {
    if (want == "machine")
        printf "%s", machine
    else if (want == "note")
        print_note()
    else if (want == "speed")
        print_speed()
    else if (want == "keys")
        print_keys()
    else if (want == "device")
        print_device()
    else if (want == "growth")
        printf "%s%s%s", "| engine | readers | raw MB | live MB | peak MB | peak / live | closed MB |" \
            " closed / live | overwrites/s |\n", "|---|---|--:|--:|--:|--:|--:|--:|--:|\n", growth
    else if (want == "sharing")
        printf "%s%s%s", "| engine | other processes | begin and end, ns | by two threads, ns each |" \
            " unsynced commit, us |\n", "|---|--:|--:|--:|--:|\n", sharing
    else if (want == "targets")
        print_targets()
    else if (want == "chart")
        print_chart()
}
