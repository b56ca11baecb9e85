#!/bin/sh
# One topic, very many subscribers: builds both programs, starts the daemon, connects
# everybody, lets a few messages reach them all, and prints what came of it.
#
#     loadtest/scale.sh [CONNECTIONS] [MESSAGES] [CORES] [more options of fanfare-loadtest idle]
#
# Each core of the daemon and each thread of the load test holds as many connections as
# a process may have files open (`ulimit -n`): more cores than processors are fine.
set -eu
cd "$(dirname "$0")/.."
connections=${1:-100000} messages=${2:-5} cores=${3:-6}
[ $# -le 3 ] && set -- || shift 3
ulimit -n "$(ulimit -Hn)"
cargo build --release -q -p fanfare -p loadtest

log=$(mktemp)
target/release/fanfare serve --listen 127.0.0.1:0 --cores "$cores" --admin off \
    --connections-max 1000000 --connections-per-address-max 1000000 >"$log" 2>&1 &
server=$!
trap 'kill $server; rm -f "$log"' EXIT
# The daemon chose a port of its own and says which.
address= tries=0
while [ -z "$address" ]; do
    kill -0 $server 2>/dev/null || { cat "$log" >&2; exit 1; }
    [ $((tries += 1)) -lt 100 ] || { echo "the daemon does not say where it listens" >&2; exit 1; }
    sleep 0.1
    address=$(grep -o '127\.0\.0\.1:[1-9][0-9]*' "$log" | head -n 1)
done
target/release/fanfare-loadtest idle --url "ws://$address/scale" --pid $server \
    --connections "$connections" --messages "$messages" "$@"
