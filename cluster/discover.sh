#!/usr/bin/env bash
# The hosts that training may run on now, HOST:SLOTS a line: what horovodrun --host-discovery-script asks every second.
#   cluster/discover.sh node1:8,node2:8     those that answer on the port of ssh (SSH_PORT, 22)
#   cluster/discover.sh FILE                the same for the lines of a file, which may change; '#' begins a comment
#   cluster/discover.sh --local N           N hosts of one slot that are all this machine
set -euo pipefail
[[ $# -ge 1 ]] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
if [[ $1 == --local ]]; then
    # Horovod gives up a whole host when one process on it fails, so each process gets a spelling of 127.0.0.1 of its own.
    for ((i = 1; i <= ${2:?how many}; i++)); do
        printf "127.0.0.%0${i}d:1\n" 1
    done
    exit
fi
if [[ -f $1 ]]; then
    mapfile -t hosts < <(sed 's/#.*//' "$1" | xargs -r -n 1)
else
    IFS=, read -ra hosts <<< "$1"
fi
for host in "${hosts[@]}"; do
    if timeout 3 bash -c ": < /dev/tcp/${host%:*}/${SSH_PORT:-22}" 2> /dev/null; then
        echo "$host"
    fi &
done
wait
