#!/usr/bin/env bash
# Checks the library crates for the systems that they are written for. What a machine does not have
# is not checked, and said so; only a check that failed makes this fail.
# `rustup target add TARGET` is all that one more needs: no C compiler, because nothing is linked.
# The system that this runs on is not among them: it is what all other checks build for.
set -euo pipefail
cd "$(dirname "$0")/../.."

targets=(
  x86_64-unknown-linux-gnu
  aarch64-unknown-linux-gnu
  x86_64-apple-darwin
  aarch64-apple-darwin
  x86_64-pc-windows-msvc
  x86_64-pc-windows-gnu
  aarch64-linux-android
)
crates=(-p smallrtc -p smallrtc-udp -p smallrtc-files -p smallrtc-smol -p smallrtc-mio -p smallrtc-server)

host=$(rustc -vV | sed -n 's/^host: //p')
checked=0 failed=0 absent=0
for target in "${targets[@]}"; do
  [ "$target" != "$host" ] || continue
  libraries=$(rustc --print target-libdir --target "$target")
  if [ ! -d "$libraries" ]; then
    echo "not checked: $target (target not installed)"
    absent=$((absent + 1))
    continue
  fi
  checked=$((checked + 1))
  name=${target//-/_}
  if env "CC_$name=$PWD/tests/checks/no-compiler" "AR_$name=$PWD/tests/checks/no-compiler" \
    AWS_LC_SYS_PREBUILT_NASM=1 RUSTFLAGS="-D warnings" \
    cargo check --quiet --locked --target "$target" --target-dir target/targets "${crates[@]}"
  then
    echo "checked: $target"
  else
    echo "FAILED: $target"
    failed=$((failed + 1))
  fi
done
echo "targets: $checked checked, $failed failed, $absent not installed"
[ "$failed" = 0 ]
