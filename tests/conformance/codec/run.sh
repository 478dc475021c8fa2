#!/usr/bin/env bash
# Proves our codec against Kafka's own, byte for byte.
#
#   tests/conformance/codec/run.sh CODEC_PEER_BINARY [VALUES_PER_VERSION [SEED]]
#
# Needs a JDK (17 or later) and Maven, and the network once, for Kafka's jars. What is fetched and built
# stays under the target directory. The last line is `codec: N passed, M failed`.
set -euo pipefail

if [[ $# -lt 1 || $# -gt 3 ]]; then
    echo "usage: $0 CODEC_PEER_BINARY [VALUES_PER_VERSION [SEED]]" >&2
    exit 2
fi
peer=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
cache=${CARGO_TARGET_DIR:-$root/target}/codec-java
mkdir -p "$cache"

# The jars are there when they were fetched for this very pom.
if ! cmp -s "$here/pom.xml" "$cache/pom.xml"; then
    rm -rf "$cache/jars"
    fetch=(mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies "-DoutputDirectory=$cache/jars")
    (cd "$cache" && { "${fetch[@]}" --offline >/dev/null 2>&1 || { rm -rf jars && "${fetch[@]}"; }; })
    cp "$here/pom.xml" "$cache/pom.xml"
fi
rm -rf "$cache/classes"
javac -nowarn -Xlint:-options --release 17 -cp "$cache/jars/*" -d "$cache/classes" "$here"/src/*.java

exec java -Xmx512m -cp "$cache/classes:$cache/jars/*" CodecProof \
    "$peer" "$root/protocol/schema" "${2:-200}" "${3:-1}"
