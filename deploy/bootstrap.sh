#!/bin/sh
# Makes .venv with the locked dependencies of one profile and the project itself; does nothing when they are there.
#   deploy/bootstrap.sh runtime   what `make demo` needs
#   deploy/bootstrap.sh dev       what `make test` needs
set -eu
profile=$1
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
lock=deploy/locks/$profile.txt
stamp=$venv/.lynceus-$profile
want=$(cat "$lock" pyproject.toml | cksum)

say() { printf '\033[2m[%s]\033[0m %s\n' lynceus "$*" >&2; }
die() { printf '[lynceus] %s\n' "$*" >&2; exit 1; }

[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && exit 0
# The development set contains the runtime set.
[ "$profile" = runtime ] && [ -f "$venv/.lynceus-dev" ] && \
  [ "$(cat "$venv/.lynceus-dev")" = "$(cat deploy/locks/dev.txt pyproject.toml | cksum)" ] && exit 0

python=${PYTHON:-python3}
command -v "$python" >/dev/null || die "$python is not on PATH: install Python 3.11 or newer, or set PYTHON"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  die "$("$python" --version) is too old: Lynceus needs Python 3.11 or newer (set PYTHON to choose another)"

began=$(date +%s)
if command -v uv >/dev/null; then
  say "installing the locked $profile set with uv into $venv"
  [ -x "$venv/bin/python" ] || uv venv --quiet --python "$python" "$venv"
  uv pip install --quiet --compile-bytecode --python "$venv/bin/python" --require-hashes --only-binary :all: -r "$lock"
  uv pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation -e .
else
  say "installing the locked $profile set with venv and pip into $venv (about a minute the first time)"
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || \
    die "python3 -m venv failed: install the venv module (Debian: apt-get install python3-venv), or uv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "$lock"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
fi
printf '%s\n' "$want" > "$stamp"
say "installed in $(($(date +%s) - began)) s"
