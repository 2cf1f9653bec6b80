#!/usr/bin/env bash
# The proof that the waist holds: the example, installed from its folder beside the built wheel into a clean environment,
# passes its own tests and imports nothing but public names.
set -euo pipefail
cd "$(dirname "$0")/.."
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
python3 -m pip wheel -q --no-deps -w "$work" .
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q "$work"/penstock-*.whl
"$work/venv/bin/pip" install -q './examples/penstock-extras[test]' cryptography trio imageio-ffmpeg
if grep -nE '(from|import) penstock(\.|_codecs|_rtmp|_rtsp)' -r examples/penstock-extras/penstock_extras; then
  echo "the example imports what is not public"
  exit 1
fi
cd examples/penstock-extras
"$work/venv/bin/pytest" -q
