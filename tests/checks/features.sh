#!/usr/bin/env bash
# Every combination of features of every crate, alone and without what only tests need. Works on a
# copy, because cargo-hack rewrites the manifests while it runs: whatever ends this script, the
# tree is as it was. Installs cargo-hack where it is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/checks/copy.sh

hack=0.6.46
if ! cargo hack --version 2>/dev/null | grep -qF "$hack"; then
  cargo install --locked --quiet "cargo-hack@$hack"
fi

target=$PWD/target
copy=$target/features
rm -rf "$copy"
trap 'rm -rf "$copy"' EXIT
copy_tree "$copy"

stated=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
echo "rust-version: $stated is stated; compiled here with $(rustc --version | cut -d' ' -f2)"
(
  cd "$copy"
  # The directory is shared: what the tests built of other people's crates is used.
  CARGO_TARGET_DIR=$target \
    cargo hack clippy --workspace --feature-powerset --no-dev-deps -- -D warnings 2>&1 |
    grep -vE '^ *(Compiling|Checking|Finished|Download|Updating|Locking|Blocking)|^$|^info: --no-dev'
)
echo "features: every combination of every crate"
