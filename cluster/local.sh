# source cluster/local.sh: this machine's shell for the commands of the README.
# The virtual environment first on PATH (horovodrun and Spark's workers look for `python` there), Spark on loopback, its
# log down to errors.
root=$(cd "$(dirname "${BASH_SOURCE[0]:-$0}")/.." && pwd)
export PATH=$root/.venv/bin:$PATH
export SPARK_CONF_DIR=$root/cluster/conf SPARK_LOCAL_IP=127.0.0.1
export PYTHONWARNINGS=ignore::FutureWarning # pyarrow 14 prints thousands for petastorm's calls
