"""Chooses a small corpus: minimise.py BINARY CORPUS FOUND.

Asks libFuzzer which features each input reaches (its merge writes them to a control file), takes
greedily what adds most for its size, and replaces CORPUS by that.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

FILES_MAX = 28
BYTES_MAX = 150_000

# An input of this length counts as twice one of none, so that short ones win among equals.
LEN_SCALE = 512


def features(control):
    """The features of each input, by its path, as the control file lists them."""
    with open(control) as lines:
        lines = lines.read().splitlines()
    count = int(lines[0])
    paths = lines[2 : 2 + count]
    reached = {}
    for line in lines[2 + count :]:
        words = line.split()
        if words and words[0] == "FT":
            reached[paths[int(words[1])]] = frozenset(words[2:])
    return reached


def choose(reached):
    chosen, known, total = [], set(), 0
    while reached and len(chosen) < FILES_MAX:
        sizes = {path: os.path.getsize(path) for path in reached}
        gain = lambda path: len(reached[path] - known) / (LEN_SCALE + sizes[path])
        best = max(sorted(reached), key=gain)
        if not reached[best] - known:
            break
        if total + sizes[best] <= BYTES_MAX:
            chosen.append(best)
            known |= reached[best]
            total += sizes[best]
        del reached[best]
    return chosen, len(known), total


def snapshot(found, copy):
    """A copy of what was found: a search that goes on takes files away for shorter ones."""
    os.mkdir(copy)
    for entry in os.scandir(found):
        try:
            shutil.copy(entry.path, copy)
        except FileNotFoundError:
            continue
    return copy


def main():
    binary, corpus, found = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        merged, control = os.path.join(folder, "merged"), os.path.join(folder, "control")
        os.mkdir(merged)
        inputs = snapshot(found, os.path.join(folder, "found"))
        command = [binary, "-set_cover_merge=1", f"-merge_control_file={control}", merged]
        log = os.path.join(folder, "log")
        with open(log, "w") as output:
            failed = subprocess.run([*command, corpus, inputs], stdout=output, stderr=output)
        if failed.returncode != 0:
            sys.exit(open(log).read()[-4000:])
        chosen, reached, total = choose(features(control))
        if not chosen:
            sys.exit(f"nothing to choose from in {corpus} and {found}")
        fresh = os.path.join(folder, "fresh")
        os.mkdir(fresh)
        for path in chosen:
            with open(path, "rb") as content:
                name = hashlib.sha1(content.read()).hexdigest()[:16]
            shutil.copy(path, os.path.join(fresh, name))
        # A search may begin meanwhile: the corpus is never half there.
        corpus = corpus.rstrip("/")
        shutil.copytree(fresh, f"{corpus}.new")
        os.rename(corpus, f"{corpus}.old")
        os.rename(f"{corpus}.new", corpus)
        shutil.rmtree(f"{corpus}.old")
    print(f"{corpus}: {len(chosen)} inputs, {total} bytes, {reached} features")


main()
