#!/usr/bin/env bash
# Packs what executors need: the library as a zip for --py-files, and an environment with its dependencies.
#   cluster/pack.sh FOLDER     makes FOLDER/ml_images.zip and FOLDER/environment.tar.gz
# (--py-files takes a wheel without complaint, but executors cannot import from one; a zip they can.)
# Every worker needs the same Python at the same path: the archive holds a link to it.
set -euo pipefail
[[ $# -eq 1 ]] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)

rm -f "$out/ml_images.zip"
(cd "$root" && python - "$out/ml_images.zip" << 'ZIP'
import sys, zipfile
from pathlib import Path

with zipfile.ZipFile(sys.argv[1], "w", zipfile.ZIP_DEFLATED) as archive:
    for file in sorted(Path("ml_images").rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            archive.write(file)
ZIP
)

wanted=$(cat "$root/pyproject.toml" "$root/constraints.txt" "$0" | sha256sum)
if [[ ! -f $out/environment.tar.gz || "$(cat "$out/environment.key" 2> /dev/null)" != "$wanted" ]]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    "$(python -c 'import os, sys; print(os.path.realpath(sys.executable))')" -m venv "$work/environment"
    # The dependencies of the library, but not the library: that is what the zip is for.
    python -c 'import sys, tomllib; print(*tomllib.load(open(sys.argv[1], "rb"))["project"]["dependencies"], sep="\n")' \
        "$root/pyproject.toml" > "$work/requirements.txt"
    "$work/environment/bin/python" -m pip -qq --disable-pip-version-check install --constraint "$root/constraints.txt" \
        --requirement "$work/requirements.txt" pandas
    venv-pack --quiet --force --prefix "$work/environment" --output "$out/environment.tar.gz"
    echo "$wanted" > "$out/environment.key"
fi
