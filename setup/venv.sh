#!/usr/bin/env bash
# Makes .venv with the tested packages (constraints.txt), Horovod and a Java. Does nothing when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3.12 python3}; do
        if command -v "$name" > /dev/null && "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))'; then
            command -v "$name"
            return
        fi
    done
    # Some of the tested set (pillow 13, matplotlib 3.11) needs 3.11; pyarrow 14 has no wheels for 3.13.
    fail "no Python 3.11 or 3.12 is here: apt-get install -y python3 python3-venv python3-dev"
}

python=$(find_python)
"$python" -c 'import ensurepip' 2> /dev/null || fail "Python's venv module is missing: apt-get install -y python3-venv"

wanted=$( { "$python" -VV; echo "${HOROVOD_GPU_OPERATIONS:-}"; cat pyproject.toml constraints.txt setup/*; } | sha256sum)
if [[ -f $venv/.ready && "$(cat "$venv/.ready")" == "$wanted" ]]; then
    exec setup/java.sh "$venv" # Java may have come or gone since
fi

# What the build of Horovod needs is asked for before the long download, not after it.
setup/horovod.sh --check "$python"

say "making $venv with $("$python" -V); the first time takes about 3 minutes and 7 GB"
rm -f "$venv/.ready"
[[ -x $venv/bin/python ]] && "$venv/bin/python" -c '' 2> /dev/null || "$python" -m venv --clear "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check -qq"
$pip install --upgrade 'pip==26.1'
$pip install --constraint constraints.txt setuptools wheel
$pip install --constraint constraints.txt --no-build-isolation --editable '.[spark,train,dev]'
setup/horovod.sh "$venv"
"$venv/bin/python" -m pip --disable-pip-version-check check > "$venv/check.log" || fail "$(cat "$venv/check.log")"
setup/java.sh "$venv"
echo "$wanted" > "$venv/.ready"
say "ready; 'source $venv/bin/activate' to use it"
