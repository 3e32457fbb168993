#!/usr/bin/env bash
# Line coverage of src/, by the core's unit tests and some of the simulator's. Prints it for each
# file, and fails when all of it together is below tests/checks/coverage.floor, in percent, or when
# the floor is lower than it ever was: it only rises. No part of the quick gate: building without
# optimisation and running under ptrace took 23 minutes on two cores that did other work as well.
# Installs cargo-tarpaulin where it is missing.
#
#     tests/checks/coverage.sh                              measures, and compares with the floor
#     tests/checks/coverage.sh raise                        the same, and raises the floor to it
#     tests/checks/coverage.sh lines src/audio/queue.rs     names the lines of a file, or of all
#         below a folder, that the last run did not reach
#
# Of the simulator's tests those count that drive single calls and what can go wrong with them,
# each with one seed. Storms, properties and loops over seeds look for orders of events, not for
# lines; what is only reached there deserves a test that says so.
#
# A few lines are told as not reached that hold no code, or no code of their own: the head of an
# `impl`, constants within a literal, a macro's arguments, an arm whose body is `{}`. They are under
# half a percent, and no reason to write code in another way.
set -euo pipefail
cd "$(dirname "$0")/../.."

tarpaulin=0.37.5
simulated=(connect ending hostile messages mtu restart snap sound start timers)
out=target/coverage
case "${1:-}${2:+ more}" in
  "" | raise | "lines more") ;;
  *) echo "expected nothing, \`raise\`, or \`lines\` and paths below src/" >&2; exit 2 ;;
esac
if [ "${1:-}" != lines ]; then
  if ! cargo tarpaulin --version 2>/dev/null | grep -qF "$tarpaulin"; then
    cargo install --locked --quiet "cargo-tarpaulin@$tarpaulin"
  fi
  mkdir -p "$out"
  rm -f "$out/tarpaulin-report.json"
  # Optimised code has lines that are never stopped at. A property reaches in a few cases what it
  # reaches at all, and unoptimised code is slow.
  CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 \
    PROPTEST_CASES=16 SMALLRTC_SEED=1 SMALLRTC_CASES=2 \
    cargo tarpaulin --engine ptrace --locked --skip-clean --target-dir "$out" --timeout 3600 \
    -p smallrtc -p smallrtc-sim --lib "${simulated[@]/#/--test=}" --include-files 'src/*' \
    --out Json --output-dir "$out" >"$out/log" 2>&1 || { tail -50 "$out/log"; exit 1; }
fi
python3 - "$out/tarpaulin-report.json" "$@" <<'PYTHON'
import json
import os
import pathlib
import re
import subprocess
import sys

FLOOR = pathlib.Path("tests/checks/coverage.floor")


def modules_of_tests():
    """The files of modules that are compiled for tests alone, and the folders of what is in them."""
    for file in pathlib.Path("src").rglob("*.rs"):
        below = file.parent if file.stem in ("lib", "mod") else file.with_suffix("")
        text = file.read_text()
        for name in re.findall(r"#\[cfg\(test\)\]\s+(?:pub\S* )?mod (\w+);", text):
            yield f"{below / name}.rs"
            yield f"{below / name}/"


report, *words = sys.argv[1:]
shown = words[1:] if words[:1] == ["lines"] else []
of_tests = tuple(modules_of_tests())
root = os.getcwd()
covered = coverable = 0
for file in sorted(json.load(open(report))["files"], key=lambda file: file["path"]):
    name = os.path.relpath(os.path.join(*file["path"]), root)
    if not name.startswith("src/") or name.startswith(of_tests) or not file["coverable"]:
        continue
    covered, coverable = covered + file["covered"], coverable + file["coverable"]
    percent = 100 * file["covered"] / file["coverable"]
    if not shown:
        print(f"{percent:6.1f} %  {file['covered']:4} of {file['coverable']:4}  {name}")
    elif name.startswith(tuple(shown)):
        lines = pathlib.Path(name).read_text().splitlines()
        for trace in file["traces"]:
            if not trace["stats"]["Line"]:
                print(f"{name}:{trace['line']}: {lines[trace['line'] - 1].strip()}")
if shown:
    sys.exit(0)
total = 100 * covered / coverable
reached = int(total * 10) / 10
floor = float(FLOOR.read_text())
history = ["git", "log", "--format=", "-p", "--", str(FLOOR)]
log = subprocess.run(history, capture_output=True, text=True, check=True).stdout.splitlines()
highest = max([float(line[1:]) for line in log if line.startswith("+") and line[1:2].isdigit()] or [0])
print(f"coverage of src/: {total:.2f} %, {covered} of {coverable} lines; the floor is {floor:.1f} %")
if floor < highest:
    sys.exit(f"{FLOOR} was {highest:.1f} before: it only rises")
if reached < floor:
    sys.exit("coverage fell below its floor")
if words == ["raise"] and reached > floor:
    FLOOR.write_text(f"{reached:.1f}\n")
    print(f"{FLOOR} is {reached:.1f} now")
elif total >= floor + 0.5:
    print(f"{FLOOR} can rise to {reached:.1f}: `tests/checks/coverage.sh raise`")
PYTHON
