#!/bin/sh
# Makes .venv. `make setup` calls it: install.sh EXTRAS TORCH PYTHON
#   EXTRAS  dev,hf,cluster: groups of packages in setup.cfg
#   TORCH   cpu (a small build), cuda (the build of PyPI, 5 GB), or auto: what is there, or else cuda where an NVIDIA
#           driver is, or else cpu
#   PYTHON  the interpreter to use; where it does not fit, the newest python3.x on the PATH that does
set -eu
extras=$1 torch=$2 wanted=$3

fits='import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)))'
python=
for candidate in "$wanted" python3.13 python3.12 python3.11; do
  if command -v "$candidate" > /dev/null && "$candidate" -c "$fits"; then python=$candidate; break; fi
done
if [ -z "$python" ] && command -v uv > /dev/null; then
  uv python install --quiet 3.12 && python=$(uv python find 3.12)
fi
if [ -z "$python" ]; then
  echo "error: warmstart needs Python 3.11, 3.12 or 3.13, and $wanted is none of them. Debian, Ubuntu: apt install" \
    "python3 python3-venv. Fedora: dnf install python3.12. Or install uv, which brings a Python. Then call again." >&2
  exit 2
fi

for extra in $(echo "$extras" | tr ',' ' '); do
  [ -f "lock/$extra.txt" ] || { echo "error: EXTRAS=$extras: choose from dev, hf, cluster" >&2; exit 2; }
done
case $torch in
  auto) if [ -f .venv/.torch ]; then torch=$(cat .venv/.torch); elif [ -e /proc/driver/nvidia/version ]; then torch=cuda; else torch=cpu; fi ;;
  cpu | cuda) ;;
  *) echo "error: TORCH=$torch: choose from auto, cpu, cuda" >&2; exit 2 ;;
esac

missing=
"$python" -c 'import ensurepip' 2> /dev/null || missing=" python3-venv"
if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 13))'; then # fairseq has no wheel there and is built here
  command -v c++ > /dev/null || missing="$missing g++"
  "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2> /dev/null \
    || missing="$missing python3-dev"
fi
if [ -n "$missing" ]; then
  echo "error: $("$python" --version) needs more packages here, to make an environment or to build fairseq. Debian, Ubuntu:" \
    "apt install$missing. Fedora (which has venv in python3): dnf install gcc-c++ python3-devel. Or give another Python: make setup PYTHON=python3.12" >&2
  exit 2
fi

said=$("$python" -m venv .venv 2>&1) || {
  echo "error: .venv cannot be made ($(echo "$said" | tail -n 1)); mend what it names, and call again" >&2
  exit 2
}
echo "$torch" > .venv/.torch # what was asked for: `make` refuses another TORCH later
pip() { .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@"; }

pinned=$(sed -n 's/^ *\(torch==[0-9.]*\)$/\1/p' setup.cfg)
if [ $torch = cpu ]; then
  pip uv==0.13.9
  said=$(UV_HTTP_TIMEOUT=10 .venv/bin/uv pip install --quiet --no-deps --python .venv --torch-backend cpu "$pinned" 2>&1) || {
    echo "torch's own index cannot be reached ($(echo "$said" | tail -n 1 | sed 's/^ *//')): torch comes from the index" \
      "that pip uses, whose build may be made for CUDA and take 5 GB"
    torch=cuda
  }
fi
if [ $torch = cuda ]; then pip "$pinned"; fi
for extra in $(echo "$extras" | tr ',' ' '); do
  pip --no-deps --require-hashes --requirement "lock/$extra.txt"
done
pip --no-deps --no-build-isolation --require-hashes --requirement lock/fairseq.txt
pip --no-deps --no-build-isolation --editable .
