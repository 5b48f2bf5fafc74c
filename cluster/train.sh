#!/usr/bin/env bash
# Starts training with Horovod.
#   cluster/train.sh NUM_PROCESSES [train.py arguments ...]                        on this machine
#   HOSTS=node1:8,node2:8 cluster/train.sh 16 [train.py arguments ...]             on several, by ssh
#   MIN_NP=8 HOSTS=node1:8,node2:8 cluster/train.sh 16 [train.py arguments ...]    goes on when ranks are lost
# With MIN_NP the run goes on as long as so many processes are left, and with those that come, up to MAX_NP (or
# NUM_PROCESSES). The hosts are those of HOSTS, a list or a file that may change, that cluster/discover.sh finds there;
# DISCOVER names another command for it; without both each process has a host of its own, all on this machine's CPUs.
#   COOLDOWN="10 300"     seconds before a host on which a process failed is tried again: at least twice the first
#                         number, twice as long each time, at most the second
#   NIC=eth0              the network interface; without it horovodrun looks for one, for which it wants two hosts
# STALL_WARNING_S (60), STALL_SHUTDOWN_S (600): seconds after which a rank that the others wait for is named, and given up.
# horovodrun's rendezvous server listens on all addresses; on one machine it is therefore kept in a network namespace that
# has nothing but loopback, where the kernel allows that.
set -euo pipefail
[[ $# -ge 1 ]] || { sed -n '2,12s/^# //p' "$0" >&2; exit 2; }
processes=$1
shift
root=$(cd "$(dirname "$0")/.." && pwd)
run=(horovodrun -np "$processes" --stall-check-warning-time-seconds "${STALL_WARNING_S:-60}")
run+=(--stall-check-shutdown-time-seconds "${STALL_SHUTDOWN_S:-600}")
if [[ -n ${MIN_NP:-} ]]; then
    most=${MAX_NP:-$processes}
    read -ra cooldown <<< "${COOLDOWN:-10 300}"
    run+=(--min-np "$MIN_NP" --max-np "$most" --blacklist-cooldown-range "${cooldown[@]}")
    look=("$root/cluster/discover.sh" --local "$most")
    [[ -z ${HOSTS:-} ]] || look=("$root/cluster/discover.sh" "$HOSTS")
    run+=(--host-discovery-script "${DISCOVER:-${look[*]@Q}}")
    run+=(--gloo-timeout-seconds 60) # a process that comes imports torch before it meets the others, who wait so long
    if [[ -z ${HOSTS:-}${DISCOVER:-} ]]; then
        NIC=lo
        threads=$(($(nproc) / most))
        export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((threads > 1 ? threads : 1))} # each believes to be alone here
    fi
    [[ -z ${NIC:-} ]] || run+=(--network-interface "$NIC")
else
    run+=(-H "${HOSTS:-localhost:$processes}")
    [[ -n ${HOSTS:-} ]] || run+=(--gloo)
fi
run+=(python "$root/train.py" "$@")
if [[ -z ${HOSTS:-}${DISCOVER:-} ]]; then
    for isolate in "unshare --net" "unshare --user --map-root-user --net"; do
        if $isolate ip link set lo up 2> /dev/null; then
            exec $isolate bash -c 'ip link set lo up; exec "$@"' train "${run[@]}"
        fi
    done
fi
exec "${run[@]}"
