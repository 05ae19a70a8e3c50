#!/usr/bin/env bash
# Most of the seeded bugs are found (`make mutants` looks for all). In a build of its own.
set -u

: "${SRC:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${CC:=cc}"

[ -z "${VARIANT:-}" ] || { echo "seeded bugs are looked for in a build of their own"; exit 77; }
cd "$SRC" || exit 1
unset BUILD
make -j2 CC="$CC" MUTANTS=--quick mutants
