#!/bin/sh
# Makes the profiles of the corpus again, as root: some by Go's own pprof, some by the profiler. Needs go and gcc. Programs
# lie in /opt/app and the host is called example, both in namespaces of their own, so that nothing of this machine gets
# into the files.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../.." && pwd)
cargo build --quiet --release --manifest-path "$top/Cargo.toml" -p profiler-user --bin profiler
profiler=${CARGO_TARGET_DIR:-$top/target}/release/profiler
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
cp "$profiler" "$top/profiler-user/tests/pprof_agreement/work.go" "$top"/tests/programs/chain.c "$top"/tests/programs/common.h \
    "$scratch"
export HERE="$here" SCRATCH="$scratch" GOCACHE="$scratch/cache" GOFLAGS=
unshare --mount --uts sh -eu <<'END'
hostname example
mkdir -p /opt
mount -t tmpfs none /opt
mkdir /opt/app
cp "$SCRATCH"/* /opt/app/ 2>/dev/null || true
cd /opt/app
go build -trimpath -o work work.go
gcc -g -O2 -fno-omit-frame-pointer -fno-optimize-sibling-calls -o chain chain.c -lpthread -lm
for run in one two; do
    mkdir "$run"
    ./work "$run" > /dev/null
done
for kind in cpu heap mutex block goroutine; do
    cp "one/$kind.pb.gz" "$HERE/go-$kind.pb.gz"
done
go tool pprof -proto -symbolize=none -diff_base=one/cpu.pb.gz two/cpu.pb.gz > "$HERE/go-difference.pb.gz" 2> /dev/null

trap 'kill "$chain" "$python" 2> /dev/null || true' EXIT
./chain burn > /dev/null &
chain=$!
/usr/bin/python3 -c 'import json
while True: json.loads(json.dumps([{"a": i} for i in range(999)]))' &
python=$!
# So that both are past their start.
sleep 1
./profiler record -d 1s -F 199 -p "$chain" -o "$HERE/chain.pb.gz" > /dev/null
./profiler record -d 1s -F 99 -p "$chain" -p "$python" -o "$HERE/two.pb.gz" > /dev/null
END
ls -l "$here"/*.pb.gz
