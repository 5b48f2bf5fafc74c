#!/usr/bin/env bash
# Builds Horovod from its PyPI source archive against the torch of a virtual environment, and installs it there.
# The wheel is kept in the user's cache, by all that it depends on.
#   setup/horovod.sh VENV              build (or take from the cache) and install
#   setup/horovod.sh --check PYTHON    say in one line what the build would lack
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=0.28.1
patch_file=$here/horovod-$version.patch
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ml-images/horovod

say() { echo "setup: $*" >&2; }

check_tools() { # $1: python
    local missing=() packages=()
    command -v g++ > /dev/null || { missing+=(g++); packages+=(g++); }
    command -v cmake > /dev/null || { missing+=(cmake); packages+=(cmake); }
    command -v make > /dev/null || { missing+=(make); packages+=(make); }
    command -v patch > /dev/null || { missing+=(patch); packages+=(patch); }
    "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
        || { missing+=("Python's headers"); packages+=(python3-dev); }
    if ((${#missing[@]})); then
        local IFS=,
        local list="${missing[*]}"
        IFS=' '
        say "missing for the build of Horovod: ${list//,/, }; apt-get install -y ${packages[*]}"
        exit 1
    fi
}

if [[ $1 == --check ]]; then
    # A wheel in the cache may save the build, but which one is known only when torch is there: ask for little, early.
    compgen -G "$cache/*/*.whl" > /dev/null || check_tools "$2"
    exit 0
fi

venv=$(cd "$1" && pwd)
torch=$("$venv/bin/python" -c 'import torch; print(torch.__version__)')
tag=$("$venv/bin/python" -c 'import sys, sysconfig; print(f"cp{sys.version_info[0]}{sys.version_info[1]}-{sysconfig.get_platform()}")')
flags=(HOROVOD_WITH_PYTORCH=1 HOROVOD_WITHOUT_TENSORFLOW=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITH_GLOO=1 HOROVOD_WITHOUT_MPI=1)
if [[ ${HOROVOD_GPU_OPERATIONS:-} == NCCL ]]; then
    if command -v nvcc > /dev/null || [[ -d ${CUDA_HOME:-/usr/local/cuda} ]]; then
        flags+=(HOROVOD_GPU_OPERATIONS=NCCL "HOROVOD_NCCL_HOME=${HOROVOD_NCCL_HOME:-}")
    else
        say "HOROVOD_GPU_OPERATIONS=NCCL was asked for, but no CUDA toolkit is here (nvcc, CUDA_HOME): Gloo only"
        unset HOROVOD_GPU_OPERATIONS
    fi
else
    unset HOROVOD_GPU_OPERATIONS
fi
digest=$( (echo "${flags[@]}"; cat "$patch_file") | sha256sum | cut -c1-12)
folder=$cache/horovod-$version-torch-$torch-$tag-$digest

if ! compgen -G "$folder/*.whl" > /dev/null; then
    check_tools "$venv/bin/python"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    say "building Horovod $version against torch $torch (2 to 3 minutes on two cores; kept in $cache)"
    "$venv/bin/python" -m pip -qq --disable-pip-version-check download --no-deps --no-binary horovod --no-build-isolation \
        --dest "$work" "horovod==$version"
    tar -xzf "$work/horovod-$version.tar.gz" -C "$work"
    patch --quiet --strip 1 --directory "$work/horovod-$version" < "$patch_file"
    if ! env "${flags[@]}" "PATH=$venv/bin:$PATH" "MAKEFLAGS=-j$(nproc)" "$venv/bin/python" -m pip --disable-pip-version-check wheel \
        --no-build-isolation --no-deps --wheel-dir "$work/wheel" "$work/horovod-$version" > "$work/log" 2>&1; then
        tail -40 "$work/log" >&2
        say "the build of Horovod failed; its last lines are above"
        exit 1
    fi
    mkdir -p "$cache"
    mv "$work/wheel" "$folder"
fi
pip=("$venv/bin/python" -m pip -qq --disable-pip-version-check install)
"${pip[@]}" --force-reinstall --no-deps "$folder"/*.whl # also where the same version was there, built for another torch
"${pip[@]}" --constraint "$here/../constraints.txt" "horovod==$version" # what it depends on
