#!/usr/bin/env bash
# Line coverage of src/ by the core's own tests and the simulator's. Prints it for each file, and
# fails when all of it together is below tests/checks/coverage.floor, in percent, or when the floor
# is lower than it ever was: it only rises. No part of the quick gate: building without
# optimisation and running under ptrace takes about ten minutes on two idle cores. Installs
# cargo-tarpaulin where it is missing.
#
# `tests/checks/coverage.sh lines src/audio/queue.rs` names the lines of a file, or of all below a
# folder, that the last run did not reach.
set -euo pipefail
cd "$(dirname "$0")/../.."

tarpaulin=0.37.5
out=target/coverage
if [ "${1:-}" != lines ]; then
  if ! cargo tarpaulin --version 2>/dev/null | grep -qF "$tarpaulin"; then
    cargo install --locked --quiet "cargo-tarpaulin@$tarpaulin"
  fi
  mkdir -p "$out"
  rm -f "$out/tarpaulin-report.json"
  # Optimised code has lines that are never stopped at. Tests are no part of what is covered. A
  # property reaches in a few cases what it reaches at all, and unoptimised code is slow.
  CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 PROPTEST_CASES=16 \
    cargo tarpaulin --engine ptrace --locked --skip-clean --target-dir "$out" --timeout 900 \
    -p smallrtc -p smallrtc-sim --lib --tests --include-files 'src/*' \
    --exclude-files 'src/**/tests.rs' 'src/**/tests/*' 'src/session/scenarios.rs' \
    --out Json --output-dir "$out" >"$out/log" 2>&1 || { tail -50 "$out/log"; exit 1; }
fi
python3 - "$out/tarpaulin-report.json" "${@:2}" <<'PYTHON'
import json
import os
import pathlib
import subprocess
import sys

report, *shown = sys.argv[1:]
root = os.getcwd()
covered = coverable = 0
for file in sorted(json.load(open(report))["files"], key=lambda file: file["path"]):
    name = os.path.relpath(os.path.join(*file["path"]), root)
    if not name.startswith("src/") or not file["coverable"]:
        continue
    covered, coverable = covered + file["covered"], coverable + file["coverable"]
    percent = 100 * file["covered"] / file["coverable"]
    if not shown:
        print(f"{percent:6.1f} %  {file['covered']:4} of {file['coverable']:4}  {name}")
    elif any(name.startswith(wanted) for wanted in shown):
        lines = pathlib.Path(name).read_text().splitlines()
        for trace in file["traces"]:
            if not trace["stats"]["Line"]:
                print(f"{name}:{trace['line']}: {lines[trace['line'] - 1].strip()}")
if shown:
    sys.exit(0)
total = 100 * covered / coverable
floor_file = "tests/checks/coverage.floor"
floor = float(pathlib.Path(floor_file).read_text())
history = ["git", "log", "--format=", "-p", "--", floor_file]
log = subprocess.run(history, capture_output=True, text=True, check=True).stdout.splitlines()
highest = max([float(line[1:]) for line in log if line.startswith("+") and line[1:2].isdigit()] or [0])
print(f"coverage of src/: {total:.2f} %, {covered} of {coverable} lines; the floor is {floor:.1f} %")
if floor < highest:
    sys.exit(f"{floor_file} was {highest:.1f} before: it only rises")
if total < floor:
    sys.exit("coverage fell below its floor")
if total >= floor + 0.5:
    print(f"{floor_file} can rise to {int(total * 10) / 10}")
PYTHON
