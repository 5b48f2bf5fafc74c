#!/usr/bin/env bash
# The whole chain on the embedded sample world. `make demo` runs it; each command below works by itself, too.
#   ./demo.sh [FOLDER]       FOLDER (demo-out) is made anew
set -euo pipefail
cd "$(dirname "$0")"
source cluster/local.sh
out=${1:-demo-out}
spark=(spark-submit --master 'local[2]')

# Every command is shown, then run; left out are the JVM's warning about a module of its own, and horovodrun's mark in
# front of what rank 0 says.
run() {
    echo
    echo "\$ $*"
    "$@" > >(sed -u 's/^\[0\]<stdout>://') 2> >(grep --line-buffered -v 'Using incubator modules' >&2)
}

if [[ -e $out && ! -e $out/world/README.txt ]]; then
    echo "demo: '$out' exists and is not an earlier demo; give another folder: ./demo.sh FOLDER" >&2
    exit 2
fi
rm -rf "$out"
mkdir -p "$out"
started=$SECONDS

# The port is part of the keys, and so of their splits: the same one every time, unless somebody has it.
port=$(python - << 'PORT'
import socket

for port in (8765, 0):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: an earlier demo is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        print(probe.getsockname()[1])
        break
PORT
)
run ml-images sample write "$out/world" --port "$port"
echo
echo "\$ ml-images sample serve $out/world &"
ml-images sample serve "$out/world" > "$out/server.log" 2>&1 &
server=$!
trap 'kill $server 2> /dev/null || true' EXIT
for ((try = 0; try < 100; try++)); do
    grep -q '^serving' "$out/server.log" && break
    kill -0 $server 2> /dev/null || { cat "$out/server.log" >&2; exit 1; }
    sleep 0.2
done
cat "$out/server.log"
url=$(grep -o 'http://[^ ]*' "$out/server.log")

run "${spark[@]}" jobs/annotate.py conf/smoke/annotate.yaml "lists=[$out/world/lists/*.txt]" \
    vocabulary="$out/world/vocabulary.txt" output="$out/annotate"
run "${spark[@]}" jobs/download.py conf/smoke/download.yaml labels="$out/annotate/labels" \
    output="$out/download" download.base_url="$url"
run "${spark[@]}" jobs/materialize.py conf/smoke/materialize.yaml annotations="$out/annotate" \
    images="$out/download/images" output="$out/materialize"
run cluster/train.sh 2 conf/smoke/train.yaml data.path="$out/materialize/dataset" output="$out/train"
run "${spark[@]}" jobs/describe.py conf/smoke/describe.yaml annotations="$out/annotate" images="$out/download/images" \
    dataset="$out/materialize/dataset" training="$out/train" output="$out/describe"

echo
echo "demo: done in $((SECONDS - started)) s; look at $(pwd)/$out/describe/report.html"
