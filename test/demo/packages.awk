# packages.awk - Debian's package index as `kv import` reads it: NAME<TAB>STANZA, one line each.
# Backslash, tab and newline are escaped; of several stanzas of a name the first one counts.

function flush() {
    if (name != "" && !(name in seen)) {
        seen[name]
        print name "\t" stanza
    }
    name = stanza = ""
}

/^$/ { flush(); next }

{
    if (sub(/^Package: /, "Package: "))
        name = $2
    gsub(/\\/, "&&")
    gsub(/\t/, "\\t")
    stanza = stanza $0 "\\n"
}

END { flush() }
