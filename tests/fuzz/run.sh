#!/usr/bin/env bash
# Runs the fuzz targets, each for so many seconds, from the saved corpus.
#
#   tests/fuzz/run.sh SECONDS_PER_TARGET [TARGET...]
#
# With 0 seconds only the saved corpus is run. One line per target, then `fuzz: N passed, M failed`.
# New inputs stay under the target directory (set FUZZ_CORPUS to keep them elsewhere); an input that
# fails is named and saved there too. The pinned toolchain is enough: coverage instrumentation is a
# code-generation option; libFuzzer itself needs a C++ compiler. `cargo +nightly fuzz run TARGET`
# runs the same targets with the address sanitizer.
set -euo pipefail

if [[ $# -lt 1 || ! $1 =~ ^[0-9]+$ ]]; then
    echo "usage: $0 SECONDS_PER_TARGET [TARGET...]" >&2
    exit 2
fi
seconds=$1
shift
cd "$(dirname "$0")"
# The values of -max_len: what is interesting lies within.
declare -A max_len=([gzip]=4096 [snappy]=16384 [lz4]=16384 [zstd]=16384)
all=()
for file in fuzz_targets/*.rs; do
    name=${file##*/}
    all+=("${name%.rs}")
done
targets=("$@")
[[ ${#targets[@]} -gt 0 ]] || targets=("${all[@]}")

if ! command -v "${CXX:-c++}" >/dev/null; then
    echo "fuzz: 0 passed, 0 failed, ${#targets[@]} skipped: libFuzzer needs a C++ compiler (set CXX)"
    [[ ${CI:-} != true ]]
    exit
fi

# With --target the flags reach the fuzzed code, but neither build scripts nor macros.
host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-target}
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage+=" -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=16 --cfg fuzzing"
RUSTFLAGS=$coverage cargo build --quiet --locked --release --target "$host" --target-dir "$target_dir"

found=${FUZZ_CORPUS:-$target_dir/fuzz-corpus}
mkdir -p "$found/artifacts"

# Runs one target; its line goes to standard output.
fuzz() {
    local target=$1 length=-runs=0 saved=() runs covered cause input
    mkdir -p "$found/$target"
    local log="$found/$target.log"
    [[ $seconds -eq 0 ]] || length=-max_total_time=$seconds
    [[ ! -d corpus/$target ]] || saved=("corpus/$target")
    if "$target_dir/$host/release/$target" "$length" -max_len="${max_len[$target]:-8192}" \
        -rss_limit_mb=2048 -malloc_limit_mb=128 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="$found/artifacts/$target-" \
        "$found/$target" "${saved[@]}" >"$log" 2>&1; then
        runs=$(sed -n 's/^stat::number_of_executed_units: //p' "$log")
        covered=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | cut -d' ' -f2)
        echo "fuzz $target: ok, ${runs:-0} inputs in $seconds s, ${covered:-0} edges covered"
    else
        cause=$(grep -m1 -E 'panicked at|ERROR: libFuzzer' "$log" || tail -n 1 "$log")
        input=$(grep -oE 'Test unit written to .*' "$log" | tail -n 1 | cut -d' ' -f5)
        echo "fuzz $target: FAILED, $cause (input ${input:-unknown}, log $log)"
        return 1
    fi
}

passed=0
failed=0
count() { if wait -n; then passed=$((passed + 1)); else failed=$((failed + 1)); fi; }
for target in "${targets[@]}"; do
    # As many at a time as there are processors.
    [[ $(jobs -pr | wc -l) -lt $(nproc) ]] || count
    fuzz "$target" &
done
while [[ $((passed + failed)) -lt ${#targets[@]} ]]; do count; done
echo "fuzz: $passed passed, $failed failed"
[[ $failed -eq 0 ]]
