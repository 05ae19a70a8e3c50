# Compares the #include lines of the engine with layers.txt. Prints what breaks it.
#     awk -v table=layers.txt -f layers.awk src/*.[ch]

function stem(path)
{
    sub(/.*\//, "", path)
    sub(/\.[ch]$/, "", path)
    return path
}

BEGIN {
    while ((getline line < table) > 0) {
        sub(/#.*/, "", line)
        n = split(line, word, " ")
        if (n == 0)
            continue
        guard = word[1] ~ /^</
        if (guard)
            guarded[word[1]] = 1
        else
            layers++
        for (i = 2; i <= n; i++) {
            if (guard) {
                may[word[1], word[i]] = 1
            } else {
                layer[word[i]] = layers
                place[word[i]] = ++places
            }
        }
    }
}

# Whether the current file may include the header of that name.
function below(other)
{
    if (other == self)
        return 1
    if (FILENAME ~ /\.c$/)
        return layer[other] <= layer[self]
    return place[other] < place[self]
}

FNR == 1 {
    self = stem(FILENAME)
    seen[self] = 1
    if (!(self in place))
        print FILENAME ": not in " table
}

/^ *# *include *"/ {
    split($0, part, "\"")
    other = stem(part[2])
    if (part[2] == "kv.h")
        next
    if (!(other in place))
        print FILENAME ":" FNR ": includes " part[2] ", which is not in " table
    else if (!below(other))
        print FILENAME ":" FNR ": " self " may not include " part[2]
}

/^ *# *include *</ {
    match($0, /<[^>]*>/)
    header = substr($0, RSTART, RLENGTH)
    if (header in guarded && !((header, self) in may))
        print FILENAME ":" FNR ": " self " may not include " header
}

END {
    for (name in place)
        if (!(name in seen))
            print table ": there is no " name
}
