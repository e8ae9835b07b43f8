#!/bin/sh
# Writes lock/<extra>.txt from setup.cfg and lock/fairseq.txt from fairseq.txt, with hashes: `make lock`.
# torch and the packages of its CUDA build are left out: install.sh takes them from the index that fits the machine.
set -eu
uv=${UV:-.venv/bin/uv}
compile() { $uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header "$@"; }

all=$(mktemp)
trap 'rm -f "$all"' EXIT
compile --extra dev --extra hf --extra cluster setup.cfg > "$all"
left_out=$(for name in torch triton $(sed -n 's/^\(nvidia-[a-z0-9-]*\|cuda-[a-z-]*\)==.*/\1/p' "$all"); do echo "--no-emit-package $name"; done)
for extra in dev hf cluster; do
  # shellcheck disable=SC2086  # words
  compile --constraint "$all" --extra $extra $left_out setup.cfg > lock/$extra.txt
done
compile --no-deps fairseq.txt > lock/fairseq.txt
