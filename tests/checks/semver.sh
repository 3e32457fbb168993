#!/usr/bin/env bash
# Compares the public interfaces with those of the newest release, which is the newest tag `v*`:
# a change that breaks users needs a version that says so. Installs cargo-semver-checks when there
# is something to compare with, and only then.
set -euo pipefail
cd "$(dirname "$0")/../.."

checker=0.51.0
release=$(git tag --list 'v[0-9]*' --sort=-version:refname | head -1)
if [ -z "$release" ]; then
  echo "semver: there is no release yet, nothing to compare with"
  exit 0
fi
if ! cargo semver-checks --version 2>/dev/null | grep -qF "$checker"; then
  cargo install --locked --quiet "cargo-semver-checks@$checker"
fi
# A crate that the release did not have has nobody to break.
crates=()
for manifest in Cargo.toml runtimes/*/Cargo.toml tests/sim/Cargo.toml; do
  name=$(sed -n 's/^name = "\(.*\)"$/\1/p' "$manifest" | head -1)
  if git cat-file -e "$release:$manifest" 2>/dev/null; then
    crates+=(-p "$name")
  else
    echo "semver: $name is new since $release"
  fi
done
echo "semver: compared with $release"
cargo semver-checks --baseline-rev "$release" "${crates[@]}"
