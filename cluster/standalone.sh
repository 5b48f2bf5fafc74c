#!/usr/bin/env bash
# A real Spark cluster on this machine, from the pip-installed pyspark: a master and workers on loopback addresses.
#   cluster/standalone.sh start FOLDER [WORKERS]   logs and process ids in FOLDER; prints the master's URL
#   cluster/standalone.sh stop FOLDER
# Workers on 127.0.0.1, 127.0.0.2, ... count as hosts of their own, so speculation and lost nodes behave as on a cluster.
# On macOS only 127.0.0.1 is there by default: give 1 worker.
set -euo pipefail
[[ $# -ge 2 ]] || { sed -n '2,6s/^# //p' "$0" >&2; exit 2; }
action=$1 folder=$2 workers=${3:-2}
mkdir -p "$folder"

if [[ $action == stop ]]; then
    for file in "$folder"/*.pid; do
        [[ -e $file ]] || continue
        kill "$(cat "$file")" 2> /dev/null || true
        rm -f "$file"
    done
    exit 0
fi

SPARK_HOME=$(python -c 'import os, pyspark; print(os.path.dirname(pyspark.__file__))')
export SPARK_HOME SPARK_DAEMON_MEMORY=${SPARK_DAEMON_MEMORY:-256m}
free_port() { python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port) ui=$(free_port)
url=spark://127.0.0.1:$port

start() { # name, address, class, arguments...
    local name=$1 address=$2
    shift 2
    SPARK_LOCAL_IP=$address nohup "$SPARK_HOME/bin/spark-class" "$@" > "$folder/$name.log" 2>&1 &
    echo $! > "$folder/$name.pid"
}

start master 127.0.0.1 org.apache.spark.deploy.master.Master --host 127.0.0.1 --port "$port" --webui-port "$ui"
for ((i = 1; i <= workers; i++)); do
    start "worker$i" "127.0.0.$i" org.apache.spark.deploy.worker.Worker --host "127.0.0.$i" --webui-port "$(free_port)" \
        --cores 1 --memory 1g --work-dir "$folder/work$i" "$url"
done
for ((second = 0; second < 60; second++)); do
    alive=$(python - "$ui" << 'ASK' || true
import json, sys, urllib.request
try:
    print(json.load(urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/json/", timeout=2))["aliveworkers"])
except OSError:
    print(0)
ASK
    )
    if [[ $alive == "$workers" ]]; then
        echo "$url"
        exit 0
    fi
    sleep 1
done
echo "the cluster did not come up in 60 s; see $folder/*.log" >&2
"$0" stop "$folder"
exit 1
