#!/usr/bin/env bash
# Runs a job on a Spark cluster, with the library and its environment shipped to the executors.
#   cluster/submit.sh MASTER_URL PACKED_FOLDER jobs/JOB.py [file.yaml ...] [key=value ...]
# PACKED_FOLDER is what cluster/pack.sh made. SPARK_SUBMIT_OPTIONS are passed on, e.g. "--executor-memory 8g".
set -euo pipefail
[[ $# -ge 3 ]] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
master=$1 packed=$2
shift 2
export PYSPARK_PYTHON=./environment/bin/python PYSPARK_DRIVER_PYTHON=${PYSPARK_DRIVER_PYTHON:-python}
local_options=()
if [[ $master == spark://127.* ]]; then # a cluster on this machine: the driver stays on loopback, too
    export SPARK_LOCAL_IP=127.0.0.1
    local_options=(--conf spark.driver.host=127.0.0.1 --conf spark.driver.bindAddress=127.0.0.1 --conf spark.ui.enabled=false)
fi
# shellcheck disable=SC2086
exec spark-submit --master "$master" ${local_options[@]+"${local_options[@]}"} \
    --py-files "$packed/ml_images.zip" --archives "$packed/environment.tar.gz#environment" ${SPARK_SUBMIT_OPTIONS:-} "$@"
