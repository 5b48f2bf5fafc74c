#!/usr/bin/env bash
# Starts training with Horovod.
#   cluster/train.sh NUM_PROCESSES [train.py arguments ...]                        on this machine
#   HOSTS=node1:8,node2:8 cluster/train.sh 16 [train.py arguments ...]             on several, by ssh
# horovodrun's rendezvous server listens on all addresses; on one machine it is therefore kept in a network namespace that
# has nothing but loopback, where the kernel allows that.
set -euo pipefail
[[ $# -ge 1 ]] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
processes=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
stall=(--stall-check-warning-time-seconds 60 --stall-check-shutdown-time-seconds 600)
if [[ -n ${HOSTS:-} ]]; then
    exec horovodrun "${stall[@]}" -np "$processes" -H "$HOSTS" python "$root/train.py" "$@"
fi
run=(horovodrun --gloo "${stall[@]}" -np "$processes" -H "localhost:$processes" python "$root/train.py" "$@")
for isolate in "unshare --net" "unshare --user --map-root-user --net"; do
    if $isolate ip link set lo up 2> /dev/null; then
        exec $isolate bash -c 'ip link set lo up; exec "$@"' train "${run[@]}"
    fi
done
exec "${run[@]}"
